//! What the audit trail holds after an operator's command.

use keyward::audit::Kind;
use keyward::store::sql::{Location, SqlStore};
use keyward::store::{AuditEvent, Limits as _};
use sqlx::{AnyConnection, Connection as _};
use uuid::Uuid;

use super::OTHER;
use crate::process::Place;

/// The audit trail of a deployment.
async fn trail(place: &Place) -> Vec<AuditEvent> {
    let store = SqlStore::open(Location::Sqlite(place.path("data/keyward.db"))).await.unwrap();
    let events = store.audit(1_000).await.unwrap();
    store.close().await;
    events
}

/// What `act` added to the audit trail.
async fn recorded(place: &Place, act: impl FnOnce()) -> Vec<AuditEvent> {
    let before = trail(place).await;
    act();
    trail(place).await.into_iter().filter(|event| !before.contains(event)).collect()
}
#[tokio::test]
async fn each_change_of_a_user_client_or_session_is_recorded_once() {
    let place = Place::prepared();
    let server = place.serve();
    let session = server.login("alice").session;
    server.login("alice");
    drop(server);
    let id = |place: &Place, name: &str| {
        let shown = place.json(&["user", "show", name, "--json"]);
        Uuid::parse_str(shown[0]["id"].as_str().unwrap()).unwrap()
    };
    let added = recorded(&place, || place.add_user("bob")).await;
    let (alice, bob) = (Some(id(&place, "alice")), Some(id(&place, "bob")));
    let told = |event: &AuditEvent| (event.kind.clone(), event.account, event.session, event.detail.clone());
    let tells = |kind: Kind, account, session, detail: &str| {
        vec![(kind.name().to_owned(), account, session, detail.to_owned())]
    };
    assert_eq!(added.iter().map(told).collect::<Vec<_>>(), tells(Kind::AccountChanged, bob, None, "added"));

    let end = session.to_string();
    let (account, client) = (Kind::AccountChanged, Kind::ClientChanged);
    /// A command, and the kind, account, session and detail of its event.
    type Case<'a> = (&'a [&'a str], Kind, Option<Uuid>, Option<Uuid>, &'a str);
    let cases: &[Case<'_>] = &[
        (&["user", "disable", "bob"], account, bob, None, "disabled"),
        (&["user", "enable", "bob"], account, bob, None, "enabled"),
        (&["user", "roles", "bob", "--none"], account, bob, None, "roles"),
        (&["user", "passwd", "bob", "--password-stdin"], Kind::PasswordChanged, bob, None, "by an operator"),
        (&["user", "delete", "bob"], account, bob, None, "deleted"),
        (&["client", "add", "app"], client, None, None, "app added"),
        (&["client", "set", "app", "--access-lifetime", "5m"], client, None, None, "app set"),
        (&["client", "delete", "app"], client, None, None, "app deleted"),
        (&["session", "end", &end], Kind::SessionEnded, None, Some(session), "ended by an operator"),
        (&["session", "end", "--all-of", "alice"], Kind::SessionsEnded, alice, None, "ended by an operator"),
    ];
    for (args, kind, account, session, detail) in cases {
        let events = recorded(&place, || _ = place.run_with(args, OTHER).ok()).await;
        let found: Vec<_> = events.iter().map(told).collect();
        assert_eq!(found, tells(*kind, *account, *session, detail), "{args:?}");
        assert_eq!(events[0].source, "cli");
    }
}

#[tokio::test]
async fn a_refused_command_records_nothing_and_never_claims_to_have_changed_what_is_gone() {
    let place = Place::prepared();
    place.run(&["client", "add", "app"]).ok();
    let nobody = Uuid::nil().to_string();
    let refused: &[&[&str]] = &[
        &["user", "add", "alice", "--no-password"],
        &["user", "roles", "nobody", "--none"],
        &["user", "delete", "nobody"],
        &["client", "add", "app"],
        &["client", "set", "nobody"],
        &["client", "delete", "nobody"],
        &["session", "end", &nobody],
    ];
    let events = recorded(&place, || {
        for args in refused {
            place.run(args).refused(1, &[]);
        }
    });
    assert_eq!(events.await, []);

    // As if somebody deleted the row between the look for it and the change.
    sqlx::any::install_default_drivers();
    let address = format!("sqlite://{}", place.path("data/keyward.db").display());
    let mut connection = AnyConnection::connect(&address).await.unwrap();
    for (name, change) in [
        ("a", "UPDATE ON accounts"),
        ("b", "DELETE ON accounts"),
        ("c", "UPDATE ON clients"),
        ("d", "DELETE ON clients"),
    ] {
        let vanish = format!("CREATE TRIGGER {name} BEFORE {change} BEGIN SELECT RAISE(IGNORE); END");
        sqlx::raw_sql(sqlx::AssertSqlSafe(vanish)).execute(&mut connection).await.unwrap();
    }
    connection.close().await.unwrap();
    let gone: &[(&[&str], &str)] = &[
        (&["user", "disable", "alice"], "alice was deleted meanwhile"),
        (&["user", "enable", "alice"], "alice was deleted meanwhile"),
        (&["user", "roles", "alice", "--none"], "alice was deleted meanwhile"),
        (&["user", "passwd", "alice", "--password-stdin"], "alice was deleted meanwhile"),
        (&["user", "delete", "alice"], "alice was deleted meanwhile"),
        (&["client", "set", "app"], "app was deleted meanwhile"),
        (&["client", "delete", "app"], "app was deleted meanwhile"),
    ];
    let events = recorded(&place, || {
        for (args, sentence) in gone {
            place.run_with(args, OTHER).refused(1, &[sentence]);
        }
    });
    assert_eq!(events.await, []);
}

#[tokio::test]
async fn a_command_that_dies_right_after_its_change_has_recorded_it() {
    let place = Place::prepared().set("KEYWARD_FAIL_AT", "passwd.after_change");
    let events = recorded(&place, || {
        assert!(place.run_with(&["user", "passwd", "alice", "--password-stdin"], OTHER).was_killed());
    });
    let kinds: Vec<_> = events.await.into_iter().map(|event| event.kind).collect();
    assert_eq!(kinds, [Kind::PasswordChanged.name()]);
}
