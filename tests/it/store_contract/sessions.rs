//! What the store promises of sessions: how they begin, advance, end and are swept.

use super::*;

contract! {
    async fn a_session_comes_back_as_it_was_started(ground) {
        let store = &ground.store;
        let (account, _, session) = logged_in(store).await;
        assert_eq!(store.session(session.id).await.unwrap().as_ref(), Some(&session));
        let live = store.live_session(session.id, NOW).await.unwrap();
        assert_eq!(live, Some((session.clone(), account)));
        assert!(store.live_session(session.id, later(IDLE)).await.unwrap().is_none());
    }

    async fn an_honest_login_takes_failures_back_and_is_recorded_or_nothing_happens(ground) {
        let store = &ground.store;
        let (account, client) = someone(store).await;
        let pace = Pace { free: 1, first_delay_ms: 1_000, max_delay_ms: 8_000, forget_ms: 900_000 };
        for at in [0, 1] {
            assert_eq!(store.attempt("s:home", pace, later(at)).await.unwrap(), Attempt::Allowed);
        }
        assert_eq!(store.attempt("a:alice", pace, NOW).await.unwrap(), Attempt::Allowed);
        let event = AuditEvent {
            id: uuid(),
            at: NOW,
            kind: "login_succeeded".to_owned(),
            account: Some(account.id),
            session: None,
            source: "c0ffee".to_owned(),
            detail: String::new(),
        };
        let stale = Session { epoch: 7, ..session(&account, &client) };
        let fresh = session(&account, &client);
        let of = |session, at| Judged { account: ("a:alice", pace), source: "s:home", session: Some(session), now: later(at) };
        let noting = store.noting(event.clone());

        assert_eq!(noting.conclude_login(&of(&stale, 1)).await.unwrap(), Concluded::AccountMoved);
        assert!(store.audit(10).await.unwrap().is_empty());
        assert!(matches!(store.attempt("s:home", pace, later(2)).await.unwrap(), Attempt::NotBefore(_)));
        // Its failure stands, and a delay holds for the right password too.
        assert_eq!(noting.conclude_login(&of(&fresh, 2)).await.unwrap(), Concluded::NotBefore(later(1_001)));
        assert!(store.session(fresh.id).await.unwrap().is_none());

        assert_eq!(noting.conclude_login(&of(&fresh, 1_001)).await.unwrap(), Concluded::Started);
        assert_eq!(store.audit(10).await.unwrap(), std::slice::from_ref(&event));
        for _ in 0..2 {
            assert_eq!(store.attempt("a:alice", pace, later(1_002)).await.unwrap(), Attempt::Allowed);
        }
        assert_eq!(store.attempt("s:home", pace, later(2)).await.unwrap(), Attempt::Allowed);
        assert!(matches!(store.attempt("s:home", pace, later(3)).await.unwrap(), Attempt::NotBefore(_)));
    }

    async fn of_logins_at_once_all_right_ones_succeed_and_wrong_ones_get_no_try_more(ground) {
        let store = &ground.store;
        let (account, client) = someone(store).await;
        let pace = Pace { free: 2, first_delay_ms: 1_000, max_delay_ms: 8_000, forget_ms: 900_000 };
        for (right, started, failed) in [(true, 16, 0), (false, 0, 3)] {
            let mut logins = Vec::new();
            for _ in 0..16 {
                let (store, session) = (store.clone(), right.then(|| session(&account, &client)));
                logins.push(tokio::spawn(async move {
                    let of = ("a:alice", pace);
                    let judged = Judged { account: of, source: "s:home", session: session.as_ref(), now: NOW };
                    store.conclude_login(&judged).await.unwrap()
                }));
            }
            let mut found = Vec::new();
            for login in logins {
                found.push(login.await.unwrap());
            }
            let count = |what| found.iter().filter(|found| **found == what).count();
            assert_eq!((count(Concluded::Started), count(Concluded::Failed)), (started, failed), "{found:?}");
        }
    }

    async fn reuse_and_healing_happen_with_their_record_or_not_at_all(ground) {
        let store = &ground.store;
        let (account, _, session) = logged_in(store).await;
        let ahead = presented(&session, 7, later(1));
        assert_eq!(name(&store.advance(&ahead).await.unwrap()), "incident");
        assert_eq!(store.session(session.id).await.unwrap().unwrap().counter, 1);
        assert!(store.audit(10).await.unwrap().is_empty());
        assert_eq!(name(&advance(store, &ahead).await), "healed");

        let spent = presented(&session, 2, later(2));
        assert_eq!(name(&store.advance(&spent).await.unwrap()), "incident");
        assert_eq!(store.session(session.id).await.unwrap().unwrap().ended, None);
        // Two presenters of the spent token: one ends the session, and it is told once.
        for outcome in ["reused", "ended"] {
            assert_eq!(name(&advance(store, &spent).await), outcome);
        }
        let trail = store.audit(10).await.unwrap();
        assert_eq!(trail.iter().map(|event| event.kind.as_str()).collect::<Vec<_>>(), ["refresh_reused", "refresh_healed"]);
        for event in trail {
            assert_eq!((event.account, event.session), (Some(account.id), Some(session.id)));
        }
    }

    async fn a_change_is_noted_with_itself_and_no_change_is_not_noted(ground) {
        let store = &ground.store;
        let (account, _, session) = logged_in(store).await;
        let noting = store.noting(event("session_ended", NOW));
        for ended in [true, false] {
            assert_eq!(noting.end_session(session.id, None, EndReason::Logout, NOW).await.unwrap(), ended);
        }
        let noting = store.noting(event("sessions_ended", later(1)));
        noting.end_sessions_of(uuid(), EndReason::LogoutAll, NOW).await.unwrap();
        noting.end_sessions_of(account.id, EndReason::LogoutAll, NOW).await.unwrap();
        let noting = store.noting(event("account_changed", later(2)));
        assert!(!noting.set_enabled(uuid(), false, NOW).await.unwrap());
        assert!(noting.set_enabled(account.id, false, NOW).await.unwrap());
        let noting = store.noting(event("password_changed", later(3)));
        let change = PasswordChange { account: account.id, expected: Some("v1:old"), sealed: "v1:n", keep: None, now: NOW };
        assert_eq!(noting.change_password(&change).await.unwrap(), None);
        let trail = store.audit(10).await.unwrap();
        let kinds: Vec<_> = trail.iter().map(|event| event.kind.as_str()).collect();
        assert_eq!(kinds, ["account_changed", "sessions_ended", "session_ended"]);
    }

    async fn no_session_starts_under_an_account_that_moved(ground) {
        let store = &ground.store;
        let (account, client) = someone(store).await;
        let stale = session(&account, &client);
        store.end_sessions_of(account.id, EndReason::LogoutAll, NOW).await.unwrap();
        assert_eq!(start(store, &stale).await, Concluded::AccountMoved);
        let account = store.account(account.id).await.unwrap().unwrap();
        let fresh = session(&account, &client);
        store.set_enabled(account.id, false, NOW).await.unwrap();
        assert_eq!(start(store, &fresh).await, Concluded::AccountMoved);
        assert_eq!(start(store, &session(&new_account("x").account, &client)).await, Concluded::AccountMoved);
        assert!(store.session(stale.id).await.unwrap().is_none());
    }

    async fn no_login_outlives_the_password_change_it_races(ground) {
        for _ in 0..8 {
            let (account, client) = someone(&ground.store).await;
            let change = {
                let (store, account) = (ground.store.clone(), account.id);
                tokio::spawn(async move {
                    let change = PasswordChange { account, expected: None, sealed: "v1:n", keep: None, now: later(1) };
                    store.change_password(&change).await.unwrap().unwrap()
                })
            };
            let mut logins = Vec::new();
            for _ in 0..8 {
                let (store, session) = (ground.store.clone(), session(&account, &client));
                logins.push(tokio::spawn(async move { start(&store, &session).await }));
            }
            let mut started = 0;
            for login in logins {
                started += u64::from(login.await.unwrap() == Concluded::Started);
            }
            assert_eq!(change.await.unwrap(), started, "each that began before the change was ended by it");
            assert!(ground.store.sessions_of(account.id, later(1), 100).await.unwrap().is_empty());
        }
    }

    async fn every_cell_of_the_outcome_table_holds(ground) {
        let store = &ground.store;
        let (account, client) = someone(store).await;
        for since in [0, GRACE - 1, GRACE, GRACE + 1, IDLE - 1] {
            for ahead in -4..=3_i64 {
                let mut session = session(&account, &client);
                session.counter = 10;
                assert_eq!(start(store, &session).await, Concluded::Started);
                let counter = u32::try_from(10 + ahead).unwrap();
                let outcome = advance(store, &presented(&session, counter, later(since))).await;
                let in_grace = since < GRACE;
                let expected = match ahead {
                    1.. => "healed",
                    0 if !in_grace => "advanced",
                    0 => "same",
                    -1 if in_grace => "same",
                    _ => "reused",
                };
                assert_eq!(name(&outcome), expected, "{ahead} ahead, {since} ms after");
                let stored = store.session(session.id).await.unwrap().unwrap();
                let mut wanted = session.clone();
                if matches!(expected, "healed" | "advanced") {
                    wanted.counter = if expected == "healed" { counter } else { 11 };
                    wanted.rotated_at = later(since);
                    wanted.last_used_at = later(since);
                    wanted.idle_expires_at = later(since + IDLE);
                    wanted.key_id = 2;
                }
                if expected == "reused" {
                    wanted.ended = Some((later(since), EndReason::Reuse));
                }
                assert_eq!(stored, wanted, "{ahead} ahead, {since} ms after");
                match outcome {
                    Advance::Advanced(live) | Advance::Same(live) | Advance::Healed(live) => {
                        assert_eq!(live.session, wanted);
                        assert_eq!(live.roles, account.roles);
                        assert_eq!(live.client_scopes, client.scopes);
                        assert_eq!(live.access_lifetime, client.access_lifetime);
                    }
                    Advance::Reused(ended) => {
                        assert_eq!(ended, wanted);
                        let again = advance(store, &presented(&session, 10, later(since))).await;
                        assert!(matches!(again, Advance::Ended(EndReason::Reuse)));
                    }
                    other => panic!("{}", name(&other)),
                }
            }
        }
    }

    async fn of_64_at_once_one_advances_and_all_others_get_the_same(ground) {
        let (_, _, session) = logged_in(&ground.store).await;
        let mut tasks = Vec::new();
        for _ in 0..64 {
            let (store, token) = (ground.store.clone(), presented(&session, 1, later(GRACE)));
            tasks.push(tokio::spawn(async move { advance(&store, &token).await }));
        }
        let (mut advanced, mut same) = (0, 0);
        for task in tasks {
            match task.await.unwrap() {
                Advance::Advanced(live) => {
                    advanced += 1;
                    assert_eq!(live.session.counter, 2);
                }
                Advance::Same(live) => {
                    same += 1;
                    assert_eq!((live.session.counter, live.session.rotated_at), (2, later(GRACE)));
                }
                other => panic!("{}", name(&other)),
            }
        }
        assert_eq!((advanced, same), (1, 63));
    }

    async fn a_clock_that_ran_ahead_is_healed_by_the_next_refresh(ground) {
        let store = &ground.store;
        let (account, client) = someone(store).await;
        let ahead = Session { rotated_at: later(3_600_000), expires_at: later(9_000_000), ..session(&account, &client) };
        assert_eq!(start(store, &ahead).await, Concluded::Started);
        let Advance::Advanced(live) = advance(store, &presented(&ahead, 1, NOW)).await else {
            panic!("the future is no grace")
        };
        assert_eq!((live.session.counter, live.session.rotated_at), (2, NOW));

        let skewed = Session { id: uuid(), rotated_at: later(30_000), ..ahead.clone() };
        assert_eq!(start(store, &skewed).await, Concluded::Started);
        let same = advance(store, &presented(&skewed, 1, NOW)).await;
        assert_eq!(name(&same), "same", "another replica's clock may be a little ahead");
    }

    async fn idle_expiry_never_passes_the_absolute_one(ground) {
        let store = &ground.store;
        let (_, _, session) = logged_in(store).await;
        let mut at = NOW;
        for counter in 1.. {
            at = Timestamp(at.0 + IDLE - 1);
            match advance(store, &presented(&session, counter, at)).await {
                Advance::Advanced(live) => {
                    let idle = (at.0 + IDLE).min(session.expires_at.0);
                    assert_eq!(live.session.idle_expires_at, Timestamp(idle));
                }
                outcome => {
                    assert_eq!(name(&outcome), "expired");
                    assert!(at >= session.expires_at);
                    break;
                }
            }
        }
    }

    async fn a_refused_token_is_told_why_and_moves_nothing(ground) {
        let store = &ground.store;
        let (account, client, session) = logged_in(store).await;
        let token = presented(&session, 1, later(GRACE));
        let outcome = async |token: Presented<'_>| name(&advance(store, &token).await);
        assert_eq!(outcome(Presented { client: uuid(), ..token.clone() }).await, "unknown");
        assert_eq!(outcome(Presented { session: uuid(), ..token.clone() }).await, "unknown");
        assert_eq!(outcome(Presented { now: later(IDLE), ..token.clone() }).await, "expired");
        for bad in ["https://orders", "", "%", "https://orders.example https://mail.example", "a\0b", "HTTPS://ORDERS.EXAMPLE"] {
            let asked = Presented { audience: Some(bad), ..token.clone() };
            assert_eq!(outcome(asked).await, "audience not allowed", "{bad:?}");
        }
        let none = Client { audiences: vec![], ..client.clone() };
        assert!(store.set_client(&none).await.unwrap());
        assert_eq!(outcome(token.clone()).await, "audience not allowed", "the session's own is gone too");
        assert_eq!(outcome(Presented { audience: Some(""), ..token.clone() }).await, "audience not allowed");
        assert_eq!(store.session(session.id).await.unwrap().unwrap(), session);
        assert_eq!(outcome(Presented { audience: Some(OWN), ..token.clone() }).await, "advanced");
        assert!(store.set_client(&client).await.unwrap());
        let next = presented(&session, 2, later(2 * GRACE));
        assert_eq!(outcome(Presented { audience: Some("https://mail.example"), ..next.clone() }).await, "advanced");
        ground.tell(&format!("UPDATE accounts SET session_epoch = 7 WHERE id = '{}'", account.id)).await;
        assert_eq!(outcome(presented(&session, 3, later(3 * GRACE))).await, "account moved");
        ground.tell(&format!("UPDATE accounts SET session_epoch = 0, enabled = 0 WHERE id = '{}'", account.id)).await;
        assert_eq!(outcome(presented(&session, 3, later(3 * GRACE))).await, "account moved");
    }

    async fn a_session_for_keyward_itself_needs_no_audience_of_the_client(ground) {
        let store = &ground.store;
        let (account, client) = someone(store).await;
        let own = Session { audience: None, ..session(&account, &client) };
        assert_eq!(start(store, &own).await, Concluded::Started);
        assert!(store.set_client(&Client { audiences: vec![], ..client }).await.unwrap());
        assert_eq!(name(&advance(store, &presented(&own, 1, later(GRACE))).await), "advanced");
    }

    async fn a_spent_token_ends_the_session_whatever_audience_it_asks_for(ground) {
        let store = &ground.store;
        let (account, client) = someone(store).await;
        let session = Session { counter: 5, ..session(&account, &client) };
        assert_eq!(start(store, &session).await, Concluded::Started);
        let spent = Presented { audience: Some("https://elsewhere"), ..presented(&session, 1, later(1)) };
        assert_eq!(name(&advance(store, &spent).await), "reused");
    }

    async fn rights_are_those_of_the_moment(ground) {
        let store = &ground.store;
        let (account, client, session) = logged_in(store).await;
        store.set_roles(account.id, &[], NOW).await.unwrap();
        store.set_client(&Client { scopes: words("a b"), access_lifetime: None, ..client }).await.unwrap();
        let Advance::Same(live) = advance(store, &presented(&session, 1, later(1))).await else { panic!() };
        assert_eq!((live.roles, live.client_scopes, live.access_lifetime), (vec![], words("a b"), None));
    }

    async fn sessions_end_once_and_only_for_their_owner(ground) {
        let store = &ground.store;
        let (account, client, first) = logged_in(store).await;
        let second = Session { created_at: later(5), ..session(&account, &client) };
        assert_eq!(start(store, &second).await, Concluded::Started);
        let listed = store.sessions_of(account.id, later(5), 10).await.unwrap();
        assert_eq!(listed.iter().map(|session| session.id).collect::<Vec<_>>(), [second.id, first.id]);
        assert_eq!(store.sessions_of(account.id, later(5), 1).await.unwrap().len(), 1);
        assert!(!store.end_session(first.id, Some(uuid()), EndReason::Logout, later(6)).await.unwrap());
        assert!(store.end_session(first.id, Some(account.id), EndReason::Logout, later(6)).await.unwrap());
        assert!(!store.end_session(first.id, None, EndReason::Operator, later(7)).await.unwrap());
        let outcome = advance(store, &presented(&first, 1, later(GRACE))).await;
        assert!(matches!(outcome, Advance::Ended(EndReason::Logout)));
        assert_eq!(store.end_sessions_of(account.id, EndReason::LogoutAll, later(8)).await.unwrap(), 1);
        assert_eq!(store.account(account.id).await.unwrap().unwrap().session_epoch, 1);
        assert!(store.sessions_of(account.id, later(8), 10).await.unwrap().is_empty());
        assert_eq!(store.end_sessions_of(uuid(), EndReason::LogoutAll, NOW).await.unwrap(), 0);
    }

    async fn all_sessions_of_all_accounts_can_end_at_once(ground) {
        let store = &ground.store;
        let (_, _, first) = logged_in(store).await;
        let (_, _, second) = logged_in(store).await;
        assert_eq!(store.end_all_sessions(EndReason::KeyCompromised, later(1)).await.unwrap(), 2);
        assert_eq!(store.end_all_sessions(EndReason::KeyCompromised, later(1)).await.unwrap(), 0);
        for session in [first, second] {
            let ended = store.session(session.id).await.unwrap().unwrap().ended;
            assert_eq!(ended, Some((later(1), EndReason::KeyCompromised)));
        }
    }

    async fn a_sweep_takes_the_dead_in_bounded_bites(ground) {
        let store = &ground.store;
        let (account, client, alive) = logged_in(store).await;
        for n in 0..6 {
            let session = session(&account, &client);
            let (idle, end) = if n < 3 { (later(10), later(20)) } else { (later(IDLE), later(IDLE)) };
            let session = Session { idle_expires_at: idle, expires_at: end, ..session };
            assert_eq!(start(store, &session).await, Concluded::Started);
            if n >= 3 {
                assert!(store.end_session(session.id, None, EndReason::Operator, later(10)).await.unwrap());
            }
        }
        assert_eq!(store.sweep_sessions(later(10), 100).await.unwrap(), 0);
        assert_eq!(store.sweep_sessions(later(11), 4).await.unwrap(), 4);
        assert_eq!(store.sweep_sessions(later(11), 4).await.unwrap(), 2);
        assert_eq!(store.sweep_sessions(later(11), 4).await.unwrap(), 0);
        assert!(store.session(alive.id).await.unwrap().is_some());
    }
}
