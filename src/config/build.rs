//! Makes the typed configuration: ranges where a setting is read, contradictions at the end.

use keyward_envelope::{MasterKeyError, MasterKeys};

use super::layers::Layers;
use super::net::{clash, issuer, origin};
use super::read::{DAY, HOUR, MINUTE, Reader, SECOND};
use super::roles::roles;
use super::{
    Access, Audit, Config, ConfigErrors, Http, Limits, Log, LogFormat, Login, PaceSettings, PasswordSettings,
    Refresh, Rotation, SessionSettings, SigningSettings, show_duration,
};

const EVER: u64 = 3650 * DAY;

pub(super) fn config(layers: Layers) -> Result<Config, ConfigErrors> {
    let mut reader = Reader::new(layers);
    let mut config = read(&mut reader);
    addresses(&config, &mut reader);
    lifetimes(&config, &mut reader);
    places(&mut config, &mut reader);
    if config.audience.is_empty() {
        config.audience.clone_from(&config.issuer);
        reader.stands_for("audience", &config.audience);
    }
    config.settings = reader.finish().map_err(|sentences| ConfigErrors { sentences })?;
    Ok(config)
}

fn read(from: &mut Reader) -> Config {
    Config {
        issuer: from.text_like("issuer", issuer),
        audience: from.text_like("audience", audience),
        data_dir: from.path("data_dir"),
        keys_dir: from.path("keys_dir"),
        master_key: master_key(from),
        master_key_file: from.optional_path("master_key_file").unwrap_or_default(),
        listen: from.addresses("listen"),
        listen_explicit: from.is_set("listen"),
        admin_listen_explicit: from.is_set("admin_listen"),
        admin_listen: from.addresses("admin_listen"),
        ready_file: from.optional_path("ready_file"),
        http: Http {
            cors_origins: from.list_of("http.cors_origins", |item| origin(item).map(|()| item.to_owned())),
            trusted_proxies: from.list_of("http.trusted_proxies", proxies),
            request_timeout: from.duration("http.request_timeout", SECOND..=5 * MINUTE),
            body_timeout: from.duration("http.body_timeout", 100..=5 * MINUTE),
            header_timeout: from.duration("http.header_timeout", 100..=5 * MINUTE),
            write_timeout: from.duration("http.write_timeout", 100..=5 * MINUTE),
            max_connections: from.number("http.max_connections", 1..=1_000_000),
            max_in_flight: from.number("http.max_in_flight", 1..=100_000),
            shutdown_deadline: from.duration("http.shutdown_deadline", 0..=10 * MINUTE),
        },
        log: Log { level: from.text_like("log.level", log_level), format: log_format(from) },
        access: Access {
            lifetime: from.seconds("access.lifetime", SECOND..=DAY),
            jitter_percent: from.number("access.jitter_percent", 0..=20),
            leeway: from.seconds("access.leeway", 0..=120 * SECOND),
            max_lifetime: from.seconds("access.max_lifetime", SECOND..=DAY),
        },
        session: SessionSettings {
            idle: from.duration("session.idle", SECOND..=EVER),
            absolute: from.duration("session.absolute", SECOND..=EVER),
            keep_ended: from.duration("session.keep_ended", 0..=EVER),
        },
        refresh: Refresh { grace: from.duration("refresh.grace", 0..=60 * SECOND) },
        login: Login { quantum: from.duration("login.quantum", 1..=5 * SECOND) },
        limits: Limits { account: pace(from, "limits.account"), source: pace(from, "limits.source") },
        password: PasswordSettings {
            min_length: from.number("password.min_length", 8..=128),
            memory_kib: from.number("password.memory_kib", 1024..=4_194_304),
            iterations: from.number("password.iterations", 1..=100),
            parallelism: from.number("password.parallelism", 1..=16),
            threads: from.number("password.threads", 0..=256),
            queue: from.number("password.queue", 1..=65_536),
            queue_memory: from.size("password.queue_memory", 1 << 20..=1 << 40),
            deadline: from.duration("password.deadline", 1..=5 * MINUTE),
        },
        rotation: Rotation {
            every: from.duration_or_off("rotation.every", MINUTE..=EVER),
            lead: from.duration("rotation.lead", SECOND..=365 * DAY),
            lease: from.duration("lease", SECOND..=30 * DAY),
            jwks_max_age: from.seconds("jwks.max_age", SECOND..=DAY),
            verifier_poll: from.duration("verifier_poll", SECOND..=DAY),
            clock_skew: from.duration("clock_skew", 0..=10 * MINUTE),
        },
        signing: SigningSettings {
            rsa_bits: from.choice("signing.rsa_bits", &[2048, 3072, 4096], "write 2048, 3072 or 4096"),
        },
        roles: roles(from),
        audit: Audit { keep: from.duration("audit.keep", DAY..=EVER) },
        settings: Vec::new(),
    }
}

/// Keys that cannot be read are refused here, before anything is made that they were to seal.
fn master_key(from: &mut Reader) -> Option<super::SecretText> {
    let text = from.secret("master_key")?;
    if let Err(wrong) = MasterKeys::parse(text.expose()) {
        let fault = match wrong {
            MasterKeyError::Malformed { fault, .. } => fault,
            other => other.to_string(),
        };
        let advice = format!("{fault}; write lines of `id key`, the key being 32 bytes in base64url");
        from.refuse("master_key", &advice);
    }
    Some(text)
}

fn proxies(text: &str) -> Result<super::Cidr, &'static str> {
    match text.parse()? {
        _ if text.ends_with("/0") => {
            Err("name the proxies; who trusts every address lets anybody choose theirs")
        }
        network => Ok(network),
    }
}

fn pace(from: &mut Reader, section: &str) -> PaceSettings {
    let [free, first_delay, max_delay, forget] =
        ["free", "first_delay", "max_delay", "forget"].map(|name| format!("{section}.{name}"));
    let pace = PaceSettings {
        free: from.number(&free, 0..=10_000),
        first_delay: from.duration(&first_delay, 1..=HOUR),
        max_delay: from.duration(&max_delay, 1..=DAY),
        forget: from.duration(&forget, SECOND..=30 * DAY),
    };
    let advice = "the first delay must not exceed the longest; lower it or raise the other";
    from.rule(pace.first_delay <= pace.max_delay, &[&first_delay, &max_delay], advice);
    let advice =
        "a failure must not be forgotten before its delay is over; raise the first or lower the other";
    from.rule(pace.forget >= pace.max_delay, &[&forget, &max_delay], advice);
    pace
}

fn audience(text: &str) -> Result<(), &'static str> {
    match text.len() <= 256 && text.bytes().all(|byte| byte.is_ascii_graphic()) {
        true => Ok(()),
        false => Err("write at most 256 visible ASCII characters, or leave it empty for the issuer"),
    }
}

fn log_level(text: &str) -> Result<(), &'static str> {
    const ADVICE: &str =
        "write error, warn, info, debug, trace, off, or such levels per target like `warn,keyward=debug`";
    // The filter takes a misspelt level for the name of a target and would log nothing else.
    let level =
        |part: &str| part.contains('=') || part.parse::<tracing_subscriber::filter::LevelFilter>().is_ok();
    let parsed = tracing_subscriber::EnvFilter::builder().with_regex(false).parse(text);
    let plain = text.contains('[') || text.split(',').all(|part| level(part.trim()));
    if parsed.is_ok() && plain && !text.is_empty() { Ok(()) } else { Err(ADVICE) }
}

fn log_format(from: &mut Reader) -> LogFormat {
    let text = from.text_like("log.format", |text| match text {
        "text" | "json" => Ok(()),
        _ => Err("write text or json"),
    });
    if text == "json" { LogFormat::Json } else { LogFormat::Text }
}

fn addresses(config: &Config, reader: &mut Reader) {
    if config.listen.is_empty() {
        reader.refuse("listen", "name at least one address");
    }
    if !reader.listens() {
        return;
    }
    let beyond = config.listen.iter().any(|address| !address.ip().to_canonical().is_loopback());
    let advice = "others cannot reach an issuer on localhost; set `issuer` to the public https URL, or listen on loopback";
    reader.rule(!beyond || reader.is_set("issuer"), &["listen", "issuer"], advice);
    let shared = config.listen.iter().any(|a| config.admin_listen.iter().any(|b| clash(*a, *b)));
    reader.rule(!shared, &["listen", "admin_listen"], "they share an address and port; change one of them");
}

fn lifetimes(config: &Config, reader: &mut Reader) {
    let Config { access, session, http, password, rotation, .. } = config;
    for (holds, keys, advice) in [
        (
            session.idle <= session.absolute,
            ["session.idle", "session.absolute"],
            "the idle time must not exceed the absolute one; lower the first or raise the other",
        ),
        (
            access.lifetime <= access.max_lifetime,
            ["access.lifetime", "access.max_lifetime"],
            "no token may live longer than the longest lifetime; lower the first or raise the other",
        ),
        (
            access.lifetime <= session.idle,
            ["access.lifetime", "session.idle"],
            "a session would end before its token needs a refresh; lower the first or raise the other",
        ),
        (
            config.shortest_lifetime() <= access.lifetime,
            ["refresh.grace", "access.lifetime"],
            "twice the grace must fit into what jitter leaves of the lifetime; lower the first or raise the other",
        ),
        (
            http.body_timeout <= http.request_timeout,
            ["http.body_timeout", "http.request_timeout"],
            "a body may not take longer than its request; lower the first or raise the other",
        ),
        (
            password.deadline <= http.request_timeout,
            ["password.deadline", "http.request_timeout"],
            "a request would time out before its password is hashed; lower the first or raise the other",
        ),
        (
            password.memory_kib >= 8 * password.parallelism,
            ["password.memory_kib", "password.parallelism"],
            "Argon2 needs 8 KiB for each lane; raise the first or lower the other",
        ),
        (
            rotation.every.is_none_or(|every| every >= rotation.lead),
            ["rotation.every", "rotation.lead"],
            "a key cannot be replaced before its successor was published for that long; raise the first or lower the other",
        ),
    ] {
        reader.rule(holds, &keys, advice);
    }
    let least = rotation.lease + 2 * rotation.jwks_max_age + rotation.verifier_poll + rotation.clock_skew;
    let keys = ["rotation.lead", "lease", "jwks.max_age", "verifier_poll", "clock_skew"];
    let sum = "lease + 2 x jwks.max_age + verifier_poll + clock_skew";
    let advice = format!("raise the first to at least {} ({sum}), or lower the others", show_duration(least));
    reader.rule(rotation.lead >= least, &keys, &advice);
}

fn places(config: &mut Config, reader: &mut Reader) {
    let contradiction = config.master_key.is_some() && reader.is_set("master_key_file");
    let advice = "both name the master key; remove one of them";
    reader.rule(!contradiction, &["master_key", "master_key_file"], advice);
    if config.master_key_file.as_os_str().is_empty() {
        config.master_key_file = config.keys_dir.join("master.key");
        if config.master_key.is_none() {
            reader.stands_for("master_key_file", &config.master_key_file.to_string_lossy());
        }
    }
    let advice = "a copy of the data must not carry its keys; move one of them";
    let apart = !inside(&config.keys_dir, &config.data_dir);
    reader.rule(apart, &["keys_dir", "data_dir"], advice);
    let apart = !apart || config.master_key.is_some() || !inside(&config.master_key_file, &config.data_dir);
    reader.rule(apart, &["master_key_file", "data_dir"], advice);
}

/// Whether one path lies in or on the other, by their names alone; links are the envelope's to follow.
fn inside(inner: &std::path::Path, outer: &std::path::Path) -> bool {
    let plain = |path: &std::path::Path| {
        let mut plain = std::path::PathBuf::new();
        for part in std::path::absolute(path).unwrap_or_else(|_| path.to_owned()).components() {
            match part {
                std::path::Component::ParentDir => drop(plain.pop()),
                part => plain.push(part),
            }
        }
        plain
    };
    plain(inner).starts_with(plain(outer))
}
