//! Conditional writes: of many who try at once, exactly the right ones succeed.

use super::{Broken, STATE, Verdict, holds, key, same};
use crate::{Conditional, Engine, Row};
use bytes::Bytes;
use std::sync::Arc;

const RACERS: u8 = 32;

/// The first one stands; whoever comes later is shown it.
pub async fn an_insert_happens_once(engine: Arc<dyn Engine>) -> Verdict {
    let at = key(STATE.only(), b"names", b"alice");
    same("the first", &engine.insert_if_absent(&at, "1".into()).await?, &Conditional::Applied)?;
    let stands = engine.get(&at).await?;
    same("what stands", &stands, &Some(Row { value: "1".into(), stamp: 1 }))?;
    same(
        "the second",
        &engine.insert_if_absent(&at, "2".into()).await?,
        &Conditional::Stands(stands.clone()),
    )?;
    same("the same again", &engine.insert_if_absent(&at, "1".into()).await?, &Conditional::Stands(stands))
}

/// One is told that it won, all others are shown the winner's row.
pub async fn one_of_many_inserts_wins(engine: Arc<dyn Engine>) -> Verdict {
    let at = key(STATE.only(), b"names", b"\0raced");
    let racers: Vec<_> = (0..RACERS)
        .map(|n| {
            let (engine, at) = (engine.clone(), at.clone());
            tokio::spawn(async move { Ok((n, engine.insert_if_absent(&at, Bytes::from(vec![n])).await?)) })
        })
        .collect();
    let mut winners = Vec::new();
    let mut shown = Vec::new();
    for racer in racers {
        let answer: Result<_, Broken> = racer.await?;
        match answer? {
            (n, Conditional::Applied) => winners.push(vec![n]),
            (_, Conditional::Stands(row)) => shown.push(row.map(|row| row.value.to_vec())),
        }
    }
    same("winners", &winners.len(), &1)?;
    let stands = engine.get(&at).await?.map(|row| row.value.to_vec());
    same("what stands", &stands.as_ref(), &winners.first())?;
    holds(shown.iter().all(|row| *row == stands), || "a loser was shown another row".to_owned())
}

/// 1 for the row that is made, then one more each time; any other expectation changes nothing and is shown what stands.
pub async fn versions_rise_by_one(engine: Arc<dyn Engine>) -> Verdict {
    let at = key(STATE.only(), b"slots", b"7");
    let missing = engine.compare_and_set(&at, Some(1), "x".into()).await?;
    same("a version of a row that is not there", &missing, &Conditional::Stands(None))?;
    let missing = engine.compare_and_set(&at, Some(0), "x".into()).await?;
    same("version 0 of a row that is not there", &missing, &Conditional::Stands(None))?;
    same("still", &engine.get(&at).await?, &None)?;
    let mut expected = None;
    for version in 1..=5_u8 {
        let value = Bytes::from(vec![version]);
        same("next", &engine.compare_and_set(&at, expected, value.clone()).await?, &Conditional::Applied)?;
        let row = Row { value, stamp: u64::from(version) };
        same("row", &engine.get(&at).await?, &Some(row.clone()))?;
        let stands = Conditional::Stands(Some(row));
        for wrong in [None, Some(0), Some(u64::from(version) - 1), Some(u64::from(version) + 1)] {
            let answer = engine.compare_and_set(&at, wrong, "x".into()).await?;
            same(&format!("expecting {wrong:?} of version {version}"), &answer, &stands)?;
        }
        expected = Some(u64::from(version));
    }
    // A row that was inserted has version 1 as well.
    let at = key(STATE.only(), b"slots", b"8");
    engine.insert_if_absent(&at, "made".into()).await?;
    same("an inserted row", &engine.compare_and_set(&at, Some(1), "x".into()).await?, &Conditional::Applied)
}

/// Many count up in one row, each by reading and comparing: all steps are there in the end.
pub async fn no_update_is_lost(engine: Arc<dyn Engine>) -> Verdict {
    const STEPS: u64 = 5;
    let at = key(STATE.only(), b"counter", b"");
    let racers: Vec<_> = (0..8)
        .map(|_| {
            let (engine, at) = (engine.clone(), at.clone());
            tokio::spawn(async move {
                let mut stands = engine.get(&at).await?;
                let mut done = 0;
                while done < STEPS {
                    let count = stands.as_ref().map_or(0, |row| number(&row.value));
                    let next = Bytes::copy_from_slice(&(count + 1).to_be_bytes());
                    let expected = stands.as_ref().map(|row| row.stamp);
                    match engine.compare_and_set(&at, expected, next.clone()).await? {
                        Conditional::Applied => {
                            done += 1;
                            stands = Some(Row { value: next, stamp: expected.unwrap_or(0) + 1 });
                        }
                        Conditional::Stands(row) => stands = row,
                    }
                }
                Ok(())
            })
        })
        .collect();
    for racer in racers {
        let counted: Verdict = racer.await?;
        counted?;
    }
    let row = engine.get(&at).await?;
    same("the count", &row.as_ref().map(|row| (number(&row.value), row.stamp)), &Some((8 * STEPS, 8 * STEPS)))
}

/// A row goes at its version and at no other; made anew, it begins with version 1.
pub async fn a_deletion_meets_its_version_only(engine: Arc<dyn Engine>) -> Verdict {
    let at = key(STATE.only(), b"members", b"one");
    let beside = key(STATE.only(), b"members", b"one\0");
    engine.insert_if_absent(&beside, "stays".into()).await?;
    for version in [0, 1] {
        let missing = engine.compare_and_delete(&at, version).await?;
        same("a row that is not there", &missing, &Conditional::Stands(None))?;
    }
    engine.compare_and_set(&at, None, "a".into()).await?;
    engine.compare_and_set(&at, Some(1), "b".into()).await?;
    let stands = Some(Row { value: "b".into(), stamp: 2 });
    for wrong in [0, 1, 3] {
        let answer = engine.compare_and_delete(&at, wrong).await?;
        same(&format!("version {wrong} of 2"), &answer, &Conditional::Stands(stands.clone()))?;
        same("it stays", &engine.get(&at).await?, &stands)?;
    }
    same("its version", &engine.compare_and_delete(&at, 2).await?, &Conditional::Applied)?;
    same("gone", &engine.get(&at).await?, &None)?;
    same("again", &engine.compare_and_delete(&at, 2).await?, &Conditional::Stands(None))?;
    same("anew", &engine.insert_if_absent(&at, "c".into()).await?, &Conditional::Applied)?;
    same("as the first", &engine.get(&at).await?, &Some(Row { value: "c".into(), stamp: 1 }))?;
    let other = engine.get(&beside).await?.map(|row| row.value);
    same("the row beside", &other, &Some("stays".into()))
}

/// Of those who change and those who delete one version, one wins; what stands is what he made of it.
pub async fn one_of_many_who_change_or_delete_wins(engine: Arc<dyn Engine>) -> Verdict {
    let at = key(STATE.only(), b"members", b"raced");
    engine.insert_if_absent(&at, "made".into()).await?;
    let racers: Vec<_> = (0..RACERS)
        .map(|n| {
            let (engine, at) = (engine.clone(), at.clone());
            tokio::spawn(async move {
                let deletes = n % 2 == 0;
                let answer = if deletes {
                    engine.compare_and_delete(&at, 1).await?
                } else {
                    engine.compare_and_set(&at, Some(1), Bytes::from(vec![n])).await?
                };
                Ok((n, deletes, answer == Conditional::Applied))
            })
        })
        .collect();
    let mut winners = Vec::new();
    for racer in racers {
        let answer: Result<_, Broken> = racer.await?;
        let (n, deletes, won) = answer?;
        if won {
            winners.push(if deletes { None } else { Some(vec![n]) });
        }
    }
    let stands = engine.get(&at).await?.map(|row| row.value.to_vec());
    same("what stands, and who won", &winners, &vec![stands])
}

fn number(value: &[u8]) -> u64 {
    value.first_chunk().map_or(0, |bytes| u64::from_be_bytes(*bytes))
}
