//! What the store promises of accounts.

use super::*;

contract! {
    async fn an_account_comes_back_as_it_was_added(ground) {
        let store = &ground.store;
        let new = new_account("ada");
        assert!(store.add_account(&new).await.unwrap());
        assert_eq!(store.account(new.account.id).await.unwrap().as_ref(), Some(&new.account));
        for identifier in &new.identifiers {
            let credential = store.credential_by_identifier(identifier).await.unwrap().unwrap();
            assert_eq!((credential.account, credential.password), (new.account.clone(), new.password.clone()));
        }
        assert!(store.credential_by_identifier("nobody").await.unwrap().is_none());
        assert!(store.credential_by_identifier("a\0b").await.unwrap().is_none());
        assert!(store.credential(uuid()).await.unwrap().is_none());
    }

    async fn a_taken_identifier_adds_nothing(ground) {
        let store = &ground.store;
        let first = new_account("ada");
        assert!(store.add_account(&first).await.unwrap());
        let mut second = new_account("bea");
        second.identifiers.push("ada".to_owned());
        assert!(!store.add_account(&second).await.unwrap());
        assert!(store.account(second.account.id).await.unwrap().is_none());
        assert!(store.credential_by_identifier("bea").await.unwrap().is_none());
    }

    async fn of_many_who_want_one_name_at_once_one_gets_it(ground) {
        let mut tasks = Vec::new();
        for _ in 0..16 {
            let store = ground.store.clone();
            tasks.push(tokio::spawn(async move { store.add_account(&new_account("ada")).await.unwrap() }));
        }
        let mut added = 0;
        for task in tasks {
            added += usize::from(task.await.unwrap());
        }
        assert_eq!(added, 1);
    }

    async fn accounts_are_paged_by_id(ground) {
        let store = &ground.store;
        let mut ids = Vec::new();
        for n in 0..5 {
            let new = new_account(&format!("user{n}"));
            ids.push(new.account.id);
            assert!(store.add_account(&new).await.unwrap());
        }
        ids.sort();
        let mut seen = Vec::new();
        loop {
            let page = store.accounts(seen.last().copied(), 2).await.unwrap();
            assert!(page.len() <= 2);
            if page.is_empty() {
                break;
            }
            seen.extend(page.iter().map(|account| account.id));
        }
        assert_eq!(seen, ids);
    }

    async fn disabling_raises_the_epoch_and_ends_every_session(ground) {
        let store = &ground.store;
        let (account, _, session) = logged_in(store).await;
        assert!(store.set_enabled(account.id, false, later(1)).await.unwrap());
        let after = store.account(account.id).await.unwrap().unwrap();
        assert_eq!((after.enabled, after.session_epoch), (false, 1));
        let ended = store.session(session.id).await.unwrap().unwrap().ended;
        assert_eq!(ended, Some((later(1), EndReason::AccountDisabled)));
        assert!(store.set_enabled(account.id, true, later(2)).await.unwrap());
        let after = store.account(account.id).await.unwrap().unwrap();
        assert_eq!((after.enabled, after.session_epoch), (true, 1));
        assert!(store.live_session(session.id, later(2)).await.unwrap().is_none());
        assert!(!store.set_enabled(uuid(), false, NOW).await.unwrap());
        assert!(!store.set_enabled(uuid(), true, NOW).await.unwrap());
    }

    async fn roles_are_replaced_and_none_can_smuggle_in_a_second(ground) {
        let store = &ground.store;
        let (account, _) = someone(store).await;
        assert!(store.set_roles(account.id, &words("admin"), NOW).await.unwrap());
        assert_eq!(store.account(account.id).await.unwrap().unwrap().roles, words("admin"));
        assert!(store.set_roles(account.id, &[], NOW).await.unwrap());
        assert_eq!(store.account(account.id).await.unwrap().unwrap().roles, words(""));
        assert!(!store.set_roles(uuid(), &words("admin"), NOW).await.unwrap());
        let smuggled = store.set_roles(account.id, &["reader admin".to_owned()], NOW).await;
        assert!(matches!(smuggled, Err(StoreError::Unavailable { step: "set_roles", .. })));
        assert_eq!(store.account(account.id).await.unwrap().unwrap().roles, words(""));
    }

    async fn a_password_change_ends_all_sessions_but_the_kept_one(ground) {
        let store = &ground.store;
        let (account, client, keep) = logged_in(store).await;
        let other = session(&account, &client);
        assert_eq!(start(store, &other).await, Concluded::Started);
        let stale = PasswordChange {
            account: account.id, expected: Some("v1:other"), sealed: "v1:new", keep: None, now: later(1),
        };
        assert_eq!(store.change_password(&stale).await.unwrap(), None);
        assert!(store.live_session(other.id, later(1)).await.unwrap().is_some());
        let change = PasswordChange { expected: Some("v1:sealed"), keep: Some(keep.id), ..stale };
        assert_eq!(store.change_password(&change).await.unwrap(), Some(1));
        let credential = store.credential(account.id).await.unwrap().unwrap();
        assert_eq!(credential.password.as_deref(), Some("v1:new"));
        assert_eq!(credential.account.session_epoch, 1);
        assert_eq!(credential.account.password_changed_at, Some(later(1)));
        let (kept, _) = store.live_session(keep.id, later(1)).await.unwrap().unwrap();
        assert_eq!(kept.epoch, 1);
        let reason = store.session(other.id).await.unwrap().unwrap().ended;
        assert_eq!(reason, Some((later(1), EndReason::PasswordChanged)));
        let advanced = store.advance(&presented(&keep, 1, later(GRACE))).await.unwrap();
        assert_eq!(name(&advanced), "advanced");
        let reset = PasswordChange { expected: None, keep: None, sealed: "v1:reset", ..stale };
        assert_eq!(store.change_password(&reset).await.unwrap(), Some(1));
        assert_eq!(store.change_password(&PasswordChange { account: uuid(), ..reset }).await.unwrap(), None);
    }

    async fn a_kept_session_of_someone_else_or_of_an_older_epoch_is_not_kept(ground) {
        let store = &ground.store;
        let (account, _, own) = logged_in(store).await;
        let (_, _, foreign) = logged_in(store).await;
        let change = PasswordChange {
            account: account.id, expected: None, sealed: "v1:new", keep: Some(foreign.id), now: later(1),
        };
        assert_eq!(store.change_password(&change).await.unwrap(), Some(1));
        assert_eq!(store.session(foreign.id).await.unwrap().unwrap().epoch, 0);
        ground.tell(&format!("UPDATE sessions SET ended_at = NULL, end_reason = NULL WHERE id = '{}'", own.id)).await;
        let change = PasswordChange { keep: Some(own.id), ..change };
        assert_eq!(store.change_password(&change).await.unwrap(), Some(1));
        assert!(store.live_session(own.id, later(1)).await.unwrap().is_none());
    }

    async fn a_rehash_moves_nothing_but_the_hash(ground) {
        let store = &ground.store;
        let (account, _, session) = logged_in(store).await;
        assert!(!store.rehash_password(account.id, "v1:other", "v1:better").await.unwrap());
        assert!(store.rehash_password(account.id, "v1:sealed", "v1:better").await.unwrap());
        let credential = store.credential(account.id).await.unwrap().unwrap();
        assert_eq!((credential.account, credential.password.as_deref()), (account, Some("v1:better")));
        assert!(store.live_session(session.id, NOW).await.unwrap().is_some());
    }

    async fn deleting_an_account_takes_identifiers_and_sessions_along(ground) {
        let store = &ground.store;
        let (account, _, session) = logged_in(store).await;
        assert!(store.delete_account(account.id).await.unwrap());
        assert!(!store.delete_account(account.id).await.unwrap());
        assert!(store.session(session.id).await.unwrap().is_none());
        assert!(store.credential_by_identifier(&account.name).await.unwrap().is_none());
        let outcome = store.advance(&presented(&session, 1, later(GRACE))).await.unwrap();
        assert_eq!(name(&outcome), "unknown");
    }
}
