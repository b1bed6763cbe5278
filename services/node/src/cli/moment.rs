//! Moments as people write them.

use time::format_description::well_known::Rfc3339;
use time::macros::format_description;
use time::{Date, OffsetDateTime};

/// Milliseconds since the Unix epoch out of a moment, a date (its first instant, UTC), or the number itself.
pub fn parse(text: &str) -> Result<u64, String> {
    if let Ok(millis) = text.parse() {
        return Ok(millis);
    }
    let date = || Date::parse(text, format_description!("[year]-[month]-[day]")).ok();
    let moment = OffsetDateTime::parse(text, &Rfc3339).ok().or_else(|| Some(date()?.midnight().assume_utc()));
    let millis = moment.and_then(|moment| u64::try_from(moment.unix_timestamp_nanos() / 1_000_000).ok());
    millis.ok_or_else(|| "write it as 2026-01-31T12:00:00Z, as 2026-01-31, or in milliseconds".to_owned())
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn moments_dates_and_numbers_are_read() {
        assert_eq!(parse("2026-09-21T14:13:20.007Z"), Ok(1_790_000_000_007));
        assert_eq!(parse("2026-09-21T16:13:20+02:00"), Ok(1_790_000_000_000));
        assert_eq!(parse("1970-01-02"), Ok(86_400_000));
        assert_eq!(parse("5"), Ok(5));
        assert!(parse("yesterday").is_err() && parse("1960-01-01").is_err());
    }
}
