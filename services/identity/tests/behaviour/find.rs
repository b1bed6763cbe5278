//! Profiles and ways to find accounts.

use crate::world::{World, by, config, reason, seen_by};
use p92_proto::identity::v1::*;

fn update(server: u64, actor: u64, paths: &[&str], account: Account) -> UpdateProfileRequest {
    let paths = paths.iter().map(|path| (*path).to_owned()).collect();
    UpdateProfileRequest {
        context: Some(by(server, actor)),
        update_mask: Some(prost_types::FieldMask { paths }),
        account: Some(account),
    }
}

#[tokio::test]
async fn a_profile_changes_as_far_as_the_mask_says() {
    let dir = tempfile::tempdir().unwrap();
    let mut world = World::open(dir.path(), config()).await;
    let server = world.server("a.example").await;
    let ann = world.member_with(server, "ann", |request| request.display_name = "Ann".to_owned()).await;
    let wanted = Account {
        display_name: "Not named".to_owned(),
        note: "Hello\nthere".to_owned(),
        fields: vec![ProfileField { name: "web".to_owned(), value: "https://ann.example".to_owned() }],
        locked: true,
        discoverable: true,
        preferences: Some(Preferences {
            visibility: Visibility::Unlisted as i32,
            language: "de".to_owned(),
            sensitive: true,
            locale: "fr".to_owned(),
        }),
        ..Default::default()
    };
    let paths =
        ["note", "fields", "locked", "discoverable", "preferences.visibility", "preferences.language"];
    let changed = world.accounts.update_profile(update(server, ann, &paths, wanted.clone())).await;
    let changed = changed.unwrap().into_inner();
    let account = changed.account.unwrap();
    assert_eq!((account.display_name.as_str(), account.note.as_str()), ("Ann", "Hello\nthere"));
    assert_eq!(
        (account.fields.clone(), account.locked, account.discoverable),
        (wanted.fields.clone(), true, true)
    );
    let preferences = account.preferences.unwrap();
    assert_eq!((preferences.visibility(), preferences.language.as_str()), (Visibility::Unlisted, "de"));
    assert_eq!((preferences.sensitive, preferences.locale.as_str()), (false, ""));
    let again =
        world.accounts.update_profile(update(server, ann, &paths, wanted)).await.unwrap().into_inner();
    assert!(again.receipt.unwrap().positions.is_empty(), "nothing had to change");
    let long = Account { display_name: "x".repeat(31), ..Default::default() };
    let cleared = Account { note: String::new(), ..Default::default() };
    let cleared = world.accounts.update_profile(update(server, ann, &["note"], cleared)).await.unwrap();
    assert_eq!(cleared.into_inner().account.unwrap().note, "");
    let bad_tag = Account {
        preferences: Some(Preferences { language: "!".to_owned(), ..Default::default() }),
        ..Default::default()
    };
    for (paths, account, expected) in [
        (["display_name"], long, "BAD_PROFILE"),
        (["preferences.language"], bad_tag, "BAD_PROFILE"),
        (["handle"], Account::default(), "BAD_FIELD_MASK"),
        (["kind"], Account::default(), "BAD_FIELD_MASK"),
    ] {
        let answer = world.accounts.update_profile(update(server, ann, &paths, account)).await;
        assert_eq!(reason(answer), expected);
    }
    world.close().await;
}

async fn search(world: &mut World, server: u64, viewer: u64, query: &str) -> Vec<String> {
    let request = SearchAccountsRequest {
        options: Some(seen_by(server, viewer)),
        query: query.to_owned(),
        ..Default::default()
    };
    let accounts = world.accounts.search_accounts(request).await.unwrap().into_inner().accounts;
    accounts.into_iter().map(|account| account.handle).collect()
}

#[tokio::test]
async fn mentions_are_completed_with_those_who_want_to_be_found() {
    let dir = tempfile::tempdir().unwrap();
    let mut world = World::open(dir.path(), config()).await;
    let (server, other) = (world.server("a.example").await, world.server("b.example").await);
    let me = world.member(server, "me").await;
    let mut ids = Vec::new();
    for handle in ["anna", "ann", "annabella", "annabella_long_name_x", "annabella_long_name_y", "bert"] {
        let id = world.member(server, handle).await;
        let open = Account { discoverable: handle != "annabella", ..Default::default() };
        world.accounts.update_profile(update(server, id, &["discoverable"], open)).await.unwrap();
        ids.push(id);
    }
    let there = world.member(other, "anno").await;
    let open = Account { discoverable: true, ..Default::default() };
    world.accounts.update_profile(update(other, there, &["discoverable"], open)).await.unwrap();
    let found = search(&mut world, server, me, "@ANN").await;
    assert_eq!(found, ["ann", "anna", "annabella_long_name_x", "annabella_long_name_y"]);
    assert_eq!(search(&mut world, server, me, "annabella_long_name_y").await, ["annabella_long_name_y"]);
    assert_eq!(search(&mut world, server, me, "annabella_long_n").await.len(), 2);
    // By its whole name, or followed, it is found though it hides.
    assert_eq!(search(&mut world, server, me, "annabella").await[0], "annabella");
    assert!(!search(&mut world, server, me, "annab").await.contains(&"annabella".to_owned()));
    world.follow(server, me, ids[2]).await;
    assert!(search(&mut world, server, me, "annab").await.contains(&"annabella".to_owned()));
    assert_eq!(search(&mut world, server, me, "anno@b.example").await, ["anno"]);
    let following = SearchAccountsRequest {
        options: Some(seen_by(server, me)),
        query: "ann".to_owned(),
        following: true,
        ..Default::default()
    };
    let followed = world.accounts.search_accounts(following).await.unwrap().into_inner().accounts;
    assert_eq!(followed.iter().map(|account| account.id).collect::<Vec<_>>(), [ids[2]]);
    let empty = SearchAccountsRequest { options: Some(seen_by(server, me)), ..Default::default() };
    assert_eq!(reason(world.accounts.search_accounts(empty).await), "QUERY_LENGTH");
    world.close().await;
}

#[tokio::test]
async fn many_are_asked_for_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let mut world = World::open(dir.path(), config()).await;
    let server = world.server("a.example").await;
    let (ann, ben) = (world.member(server, "ann").await, world.member(server, "ben").await);
    let batch = |ids: Vec<u64>| BatchGetAccountsRequest { options: Some(seen_by(server, 0)), ids };
    let found = world.accounts.batch_get_accounts(batch(vec![ben, 7, ann, u64::MAX])).await.unwrap();
    let ids: Vec<_> = found.into_inner().accounts.into_iter().map(|account| account.id).collect();
    assert_eq!(ids, [ben, ann]);
    assert_eq!(reason(world.accounts.batch_get_accounts(batch(vec![ann; 501])).await), "TOO_MANY");
    let resolve = ResolveHandlesRequest {
        options: Some(seen_by(server, 0)),
        handles: ["ann", "nobody", "@BEN@a.example", "@@", "", "x@exam/ple"].map(str::to_owned).to_vec(),
    };
    let resolved = world.accounts.resolve_handles(resolve).await.unwrap().into_inner().handles;
    let named: Vec<_> = resolved.into_iter().map(|one| (one.handle, one.account.unwrap().id)).collect();
    assert_eq!(named, [("ann".to_owned(), ann), ("@BEN@a.example".to_owned(), ben)]);
    world.close().await;
}
