//! What the store promises of delays after failures, and of the audit trail.

use super::*;

contract! {
    async fn delays_grow_up_to_a_cap_and_are_forgotten(ground) {
        let store = &ground.store;
        let mut at = NOW;
        for delay in [0, 0, 0, 1_000, 2_000, 4_000, 5_000, 5_000] {
            assert_eq!(store.attempt("ada", PACE, at).await.unwrap(), Attempt::Allowed, "{delay}");
            let end = Timestamp(at.0 + delay);
            if delay > 0 {
                let early = Timestamp(end.0 - 1);
                assert_eq!(store.attempt("ada", PACE, early).await.unwrap(), Attempt::NotBefore(end));
            }
            at = end;
        }
        assert_eq!(store.attempt("bea", PACE, at).await.unwrap(), Attempt::Allowed);
        let much_later = Timestamp(at.0 + PACE.forget_ms);
        for _ in 0..4 {
            assert_eq!(store.attempt("ada", PACE, much_later).await.unwrap(), Attempt::Allowed);
        }
        assert!(matches!(store.attempt("ada", PACE, much_later).await.unwrap(), Attempt::NotBefore(_)));
        store.succeed("ada").await.unwrap();
        assert_eq!(store.attempt("ada", PACE, much_later).await.unwrap(), Attempt::Allowed);
    }

    async fn without_free_failures_the_first_already_delays(ground) {
        let store = &ground.store;
        let pace = Pace { free: 0, ..PACE };
        assert_eq!(store.attempt("ada", pace, NOW).await.unwrap(), Attempt::Allowed);
        assert_eq!(store.attempt("ada", pace, NOW).await.unwrap(), Attempt::NotBefore(later(1_000)));
    }

    async fn attempts_written_out_of_the_order_of_their_clocks_are_not_delayed_by_each_other(ground) {
        let pace = Pace { free: 3, first_delay_ms: 1_000, max_delay_ms: 8_000, forget_ms: 900_000 };
        for at in [5, 0, 3] {
            assert_eq!(ground.store.attempt("s:crowd", pace, later(at)).await.unwrap(), Attempt::Allowed, "{at}");
        }
    }

    async fn guesses_at_once_get_no_more_tries_than_one_after_another(ground) {
        let mut tasks = Vec::new();
        for _ in 0..32 {
            let store = ground.store.clone();
            tasks.push(tokio::spawn(async move { store.attempt("ada", PACE, NOW).await.unwrap() }));
        }
        let mut allowed = 0;
        for task in tasks {
            allowed += u32::from(task.await.unwrap() == Attempt::Allowed);
        }
        assert_eq!(allowed, PACE.free + 1);
    }

    async fn forgiving_takes_back_one_failure_and_no_more(ground) {
        let store = &ground.store;
        let mut at = NOW;
        for delay in [0, 0, 0, 1_000, 2_000] {
            assert_eq!(store.attempt("ada", PACE, at).await.unwrap(), Attempt::Allowed);
            at = Timestamp(at.0 + delay);
        }
        let early = Timestamp(at.0 - 1);
        assert_eq!(store.attempt("ada", PACE, early).await.unwrap(), Attempt::NotBefore(at));
        store.forgive("ada").await.unwrap();
        assert_eq!(store.attempt("ada", PACE, early).await.unwrap(), Attempt::Allowed);
        let again = Timestamp(early.0 + 2_000);
        assert_eq!(store.attempt("ada", PACE, early).await.unwrap(), Attempt::NotBefore(again), "the older stand");
        store.forgive("nobody").await.unwrap();
        for n in 0..PACE.free + 3 {
            assert_eq!(store.attempt("bea", PACE, NOW).await.unwrap(), Attempt::Allowed, "{n}");
            store.forgive("bea").await.unwrap();
        }
    }

    async fn limits_are_swept_in_bounded_bites(ground) {
        let store = &ground.store;
        for n in 0..5 {
            store.attempt(&format!("s{n}"), PACE, NOW).await.unwrap();
        }
        store.attempt("fresh", PACE, later(10)).await.unwrap();
        assert_eq!(store.sweep_limits(later(10), 3).await.unwrap(), 3);
        assert_eq!(store.sweep_limits(later(10), 3).await.unwrap(), 2);
        assert_eq!(store.sweep_limits(later(10), 3).await.unwrap(), 0);
    }

    async fn the_audit_trail_is_read_newest_first_and_swept_oldest_first(ground) {
        let store = &ground.store;
        let events: Vec<_> = (0..5).map(|n| event("login_failed", later(n))).collect();
        for event in &events {
            store.record(event).await.unwrap();
        }
        let newest = store.audit(2).await.unwrap();
        assert_eq!(newest.iter().map(|event| event.id).collect::<Vec<_>>(), [events[4].id, events[3].id]);
        assert_eq!(newest[0], AuditEvent { detail: "a\u{fffd}b".to_owned(), ..events[4].clone() });
        assert_eq!(store.sweep_audit(later(3), 2).await.unwrap(), 2);
        assert_eq!(store.sweep_audit(later(3), 2).await.unwrap(), 1);
        assert_eq!(store.audit(10).await.unwrap().len(), 2);
    }
}
