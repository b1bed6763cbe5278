//! Pages of lists: which part is asked for, and the token that goes on.

use super::{Status, wrong};
use p92_kernel::Id;
use p92_proto::event::v1::IdWindow;

/// The part of a list that is asked for: `default` entries if the size is 0, never more than `most`.
pub fn window(page_size: i32, page_token: &str, default: u32, most: u32) -> Result<IdWindow, Status> {
    let asked = u32::try_from(page_size)
        .map_err(|_| wrong("page_size", "PAGE_SIZE_NEGATIVE", "The page size is negative."))?;
    let limit = if asked == 0 { default } else { asked.min(most) };
    let max_id = match page_token {
        "" => 0,
        token => token
            .parse::<Id>()
            .map_err(|_| wrong("page_token", "BAD_PAGE_TOKEN", "This page token was not given out."))?
            .get(),
    };
    Ok(IdWindow { max_id, limit, ..IdWindow::default() })
}

/// The token behind a page whose entries stand at these places; empty behind the last page.
pub fn next(places: impl ExactSizeIterator<Item = u64>, limit: u32) -> String {
    let full = places.len() >= limit as usize;
    places.last().filter(|_| full).map(|last| last.to_string()).unwrap_or_default()
}
