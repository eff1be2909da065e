//! What every engine does with the database behind the traits.

use super::*;

contract! {
    async fn what_was_written_is_there_after_reopening(ground) {
        let (account, _, session) = logged_in(&ground.store).await;
        begun(&ground.store).await;
        let outcome = ground.store.advance(&presented(&session, 1, later(GRACE))).await.unwrap();
        assert_eq!(name(&outcome), "advanced");
        ground.store.close().await;
        let after = ground.again().await;
        assert_eq!(after.account(account.id).await.unwrap(), Some(account));
        assert_eq!(after.session(session.id).await.unwrap().unwrap().counter, 2);
        assert_eq!(after.ring_generation().await.unwrap(), 1);
        after.close().await;
    }

    async fn several_programs_write_to_one_database_without_an_error(ground) {
        let mut tasks = Vec::new();
        for _ in 0..4 {
            let store = ground.again().await;
            let (_, _, session) = logged_in(&store).await;
            tasks.push(tokio::spawn(async move {
                for n in 0..50_u32 {
                    let at = later(i64::from(n + 1) * GRACE);
                    let outcome = store.advance(&presented(&session, n + 1, at)).await.unwrap();
                    assert_eq!(name(&outcome), "advanced");
                    store.record(&event("refreshed", at)).await.unwrap();
                    someone(&store).await;
                }
                store.close().await;
            }));
        }
        for task in tasks {
            task.await.unwrap();
        }
        assert_eq!(ground.store.audit(1_000).await.unwrap().len(), 200);
    }

    async fn many_may_open_a_new_database_at_once(ground) {
        ground.store.close().await;
        ground.tell("DROP TABLE schema_versions; DROP TABLE identifiers; DROP TABLE sessions; DROP TABLE accounts; \
            DROP TABLE clients; DROP TABLE key_ring; DROP TABLE signed_counts; DROP TABLE signing_keys; \
            DROP TABLE secrets; DROP TABLE secret_names; DROP TABLE encryption_keys; DROP TABLE limits; \
            DROP TABLE audit_events").await;
        let mut tasks = Vec::new();
        for _ in 0..6 {
            let location = ground.location.clone();
            tasks.push(tokio::spawn(async move { SqlStore::open(location).await.unwrap() }));
        }
        for task in tasks {
            let store = task.await.unwrap();
            assert_eq!(store.ring_generation().await.unwrap(), 0);
            store.close().await;
        }
    }

    async fn one_write_that_fails_among_many_at_once_spoils_none_of_the_others(ground) {
        let store = &ground.store;
        let (_, client) = someone(store).await;
        let mut refreshes = Vec::new();
        let mut refused = Vec::new();
        for n in 0..16 {
            let (_, _, session) = logged_in(store).await;
            let known = Client { name: format!("same id {n}"), ..client.clone() };
            refreshes.push((session.id, presented(&session, 1, later(GRACE))));
            refused.push(known);
        }
        let mut tasks = Vec::new();
        for client in refused {
            let store = store.clone();
            tasks.push(tokio::spawn(async move { assert!(store.add_client(&client).await.is_err()) }));
        }
        for (_, refresh) in refreshes.clone() {
            let store = store.clone();
            tasks.push(tokio::spawn(async move {
                assert_eq!(name(&store.advance(&refresh).await.unwrap()), "advanced");
            }));
        }
        for task in tasks {
            task.await.unwrap();
        }
        let after = ground.again().await;
        for (session, _) in refreshes {
            assert_eq!(after.session(session).await.unwrap().unwrap().counter, 2);
        }
        after.close().await;
    }

    async fn writers_that_give_up_take_nobody_with_them(ground) {
        let store = &ground.store;
        let mut tasks = Vec::new();
        for n in 0..64_usize {
            let (_, _, session) = logged_in(store).await;
            let store = store.clone();
            tasks.push((n, session.id, tokio::spawn(async move {
                let refresh = presented(&session, 1, later(GRACE));
                let mut work = std::pin::pin!(store.advance(&refresh));
                // Every other one is dropped after a few polls, wherever it stands by then.
                for _ in 0..n / 2 % 5 {
                    if n % 2 == 1 && poll_once(&mut work).await {
                        return;
                    }
                }
                if n % 2 == 0 {
                    assert_eq!(name(&work.await.unwrap()), "advanced");
                }
            })));
        }
        for (n, session, task) in tasks {
            task.await.unwrap();
            let counter = store.session(session).await.unwrap().unwrap().counter;
            assert!(counter == 2 || n % 2 == 1 && counter == 1, "{n}: {counter}");
        }
    }

    async fn a_step_given_up_half_way_leaves_no_trace_and_no_lock(ground) {
        let (account, client) = someone(&ground.store).await;
        let (mut wanted, mut kept) = (Vec::new(), 0);
        for n in 0..150 {
            let session = session(&account, &client);
            let honest = judged(&session);
            let start = ground.store.conclude_login(&honest);
            let patience = std::time::Duration::from_micros(n * 20);
            let finished = tokio::time::timeout(patience, start).await.is_ok();
            wanted.push((session, finished));
        }
        assert!(ground.store.set_roles(account.id, &words("admin"), NOW).await.unwrap());
        for (session, finished) in wanted {
            let found = ground.store.session(session.id).await.unwrap();
            assert!(found.is_some() || !finished, "what was reported is there");
            assert!(found.is_none_or(|found| found == session), "whole or not at all");
            kept += u32::from(finished);
        }
        assert!(kept < 150, "none was given up");
    }

    async fn a_newer_database_is_refused(ground) {
        ground.store.close().await;
        ground.tell("INSERT INTO schema_versions (version) VALUES (999)").await;
        let refused = SqlStore::open(ground.location.clone()).await;
        assert!(matches!(refused, Err(OpenError::Newer { found: 999, .. })));
    }

    async fn an_unreadable_row_is_called_corrupt(ground) {
        let store = &ground.store;
        let (account, client, session) = logged_in(store).await;
        begun(store).await;
        ground.tell("UPDATE sessions SET counter = 99999999999").await;
        assert!(is_corrupt(&store.session(session.id).await));
        assert!(is_corrupt(&store.sessions_of(account.id, NOW, 5).await));
        assert!(is_corrupt(&store.advance(&presented(&session, 1, later(IDLE))).await));
        ground.tell("UPDATE sessions SET counter = 1, ended_at = 5, end_reason = 'boredom'").await;
        assert!(is_corrupt(&store.session(session.id).await));
        assert!(is_corrupt(&store.advance(&presented(&session, 1, later(1))).await));
        ground.tell("UPDATE clients SET access_lifetime = -1").await;
        assert!(is_corrupt(&store.client(&client.name).await));
        ground.tell("UPDATE signing_keys SET max_lifetime = -1").await;
        assert!(is_corrupt(&store.ring().await));
        ground.tell("DELETE FROM key_ring").await;
        assert!(is_corrupt(&store.ring().await));
        assert!(is_corrupt(&store.ring_generation().await));
        store.record(&event("x", NOW)).await.unwrap();
        ground.tell("UPDATE audit_events SET account_id = 'nobody'").await;
        assert!(is_corrupt(&store.audit(1).await));
    }

    async fn every_call_is_counted(ground) {
        let store = &ground.store;
        assert!(store.calls().iter().all(|(_, n)| *n == 0));
        store.credential_by_identifier("ada").await.unwrap();
        store.credential_by_identifier("bea").await.unwrap();
        store.clone().attempt("ada", PACE, NOW).await.unwrap();
        let calls: Vec<_> = store.calls().into_iter().filter(|(_, n)| *n > 0).collect();
        assert_eq!(calls, [("credential_by_identifier", 2), ("attempt", 1)]);
    }

    async fn a_closed_store_says_which_step_it_could_not_take(ground) {
        ground.store.close().await;
        let refused = ground.store.credential_by_identifier("ada-secret-name").await;
        let words = refused.unwrap_err().to_string();
        assert!(words.contains("`credential_by_identifier`"), "{words}");
        assert!(!words.contains("ada"), "{words}");
    }
}

#[tokio::test]
async fn sqlite_text_where_a_number_belongs_is_called_corrupt() {
    let ground = Ground::on_sqlite().await;
    let (account, _, session) = logged_in(&ground.store).await;
    ground.tell("UPDATE sessions SET rotated_at = 'yesterday'").await;
    assert!(is_corrupt(&ground.store.session(session.id).await));
    ground.tell("UPDATE accounts SET name = CAST(x'ff' AS TEXT)").await;
    assert!(is_corrupt(&ground.store.account(account.id).await));
    ground.leave().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_may_make_the_sqlite_file_at_once() {
    for _ in 0..5 {
        let file = fresh_folder().join("keyward.db");
        let mut tasks = Vec::new();
        for _ in 0..6 {
            let location = Location::Sqlite(file.clone());
            tasks.push(tokio::spawn(async move { SqlStore::open(location).await.unwrap() }));
        }
        for task in tasks {
            let store = task.await.unwrap();
            assert_eq!(store.ring_generation().await.unwrap(), 0);
            store.close().await;
        }
        std::fs::remove_dir_all(file.parent().unwrap()).unwrap();
    }
}

#[tokio::test]
async fn the_sqlite_file_and_its_folder_are_for_their_owner_alone() {
    use std::os::unix::fs::PermissionsExt;
    let folder = fresh_folder().join("deep #1?");
    let store = SqlStore::open(Location::Sqlite(folder.join("key ward%20.db"))).await.unwrap();
    assert!(store.add_account(&new_account("ada")).await.unwrap());
    let mode = |path: &std::path::Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&folder), 0o700);
    let files: Vec<_> = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert!(files.contains(&folder.join("key ward%20.db")), "{files:?}");
    assert_eq!(files.len(), 3, "the file, its log and the log's index: {files:?}");
    for file in files {
        assert_eq!(mode(&file), 0o600, "{}", file.display());
    }
    store.close().await;
    std::fs::remove_dir_all(folder.parent().unwrap()).unwrap();
}

#[tokio::test]
async fn a_location_that_cannot_be_is_refused_with_a_sentence() {
    let folder = fresh_folder();
    std::fs::create_dir_all(folder.join("keyward.db")).unwrap();
    let refused = SqlStore::open(Location::Sqlite(folder.join("keyward.db"))).await;
    assert!(refused.is_err_and(|error| error.to_string().contains("keyward.db")));
    let refused = SqlStore::open(Location::Sqlite(PathBuf::from("/dev/null/keyward.db"))).await;
    assert!(refused.is_err_and(|error| error.to_string().contains("/dev/null/keyward.db")));
    for address in ["mysql://user:hunter2@host/db", "postgres://user:hunter2@:bad:/db", "hunter2"] {
        let refused = SqlStore::open(Location::Postgres(address.to_owned())).await.map(|_| ());
        let words = refused.unwrap_err().to_string();
        assert!(!words.contains("hunter2"), "{words}");
    }
    std::fs::remove_dir_all(folder).unwrap();
}

/// Polls once, gives the others a turn, and says whether it is done.
async fn poll_once<F: Future + Unpin>(work: &mut F) -> bool {
    let done = std::future::poll_fn(|context| {
        let polled = std::pin::Pin::new(&mut *work).poll(context);
        std::task::Poll::Ready(polled.is_ready())
    });
    let done = done.await;
    tokio::task::yield_now().await;
    done
}
