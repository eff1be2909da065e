//! `config check` and `config show`: what the settings are and where each comes from.

use std::io::{self, Write};

use crate::config::{Config, ConfigErrors, Setting};

/// `keyward config show`.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct ShowArgs {
    /// Print JSON: a list of objects with key, value and source.
    #[arg(long)]
    pub json: bool,
}

/// Says whether the configuration is good, with all that is set above the defaults; returns the exit code, 0 or 2.
///
/// # Errors
/// What writing says.
pub fn check(loaded: &Result<Config, ConfigErrors>, out: &mut dyn Write) -> io::Result<u8> {
    match loaded {
        Ok(config) => {
            writeln!(out, "configuration is good")?;
            let mut settings = config.explain();
            settings.retain(|setting| setting.source != crate::config::Source::Default);
            table(&settings, out)?;
            Ok(0)
        }
        Err(errors) => {
            writeln!(out, "{errors}")?;
            Ok(2)
        }
    }
}

/// Prints every setting with its value and source, secrets redacted.
///
/// # Errors
/// What writing says.
pub fn show(config: &Config, args: &ShowArgs, out: &mut dyn Write) -> io::Result<()> {
    let settings = config.explain();
    if !args.json {
        return table(&settings, out);
    }
    let object = |setting: &Setting| serde_json::json!({ "key": setting.key, "value": setting.value, "source": setting.source.to_string() });
    serde_json::to_writer_pretty(&mut *out, &settings.iter().map(object).collect::<Vec<_>>())?;
    writeln!(out)
}

fn table(settings: &[Setting], out: &mut dyn Write) -> io::Result<()> {
    let width =
        |text: fn(&Setting) -> &str| settings.iter().map(|row| text(row).chars().count()).max().unwrap_or(0);
    let (key, value) = (width(|row| &row.key), width(|row| &row.value).min(48));
    for row in settings {
        writeln!(out, "{:key$}  {:value$}  {}", row.key, row.value, row.source)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Overrides;

    fn loaded(variables: &[(&str, &str)]) -> Result<Config, ConfigErrors> {
        Config::load(
            Overrides::default(),
            variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())),
        )
    }

    #[test]
    fn check_prints_what_is_set_and_exits_with_zero() {
        let mut out = Vec::new();
        assert_eq!(check(&loaded(&[("KEYWARD_REFRESH__GRACE", "5s")]), &mut out).unwrap(), 0);
        let expected = "configuration is good\nrefresh.grace  5s  environment KEYWARD_REFRESH__GRACE\n";
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }

    #[test]
    fn check_prints_every_sentence_and_exits_with_two() {
        let mut out = Vec::new();
        let bad = loaded(&[("KEYWARD_REFRESH__GRACE", "5"), ("KEYWARD_AUDIT__KEEP", "1s")]);
        assert_eq!(check(&bad, &mut out).unwrap(), 2);
        assert_eq!(String::from_utf8(out).unwrap().lines().count(), 2);
    }

    #[test]
    fn show_prints_every_setting_and_no_secret() {
        let key = format!("m1 {}hus", "hush".repeat(10));
        let config = loaded(&[("KEYWARD_MASTER_KEY", &key)]).unwrap();
        for json in [true, false] {
            let mut out = Vec::new();
            show(&config, &ShowArgs { json }, &mut out).unwrap();
            let text = String::from_utf8(out).unwrap();
            assert!(
                !text.contains("hush") && text.contains("[redacted]") && text.contains("rotation.lead"),
                "{text}"
            );
            if json {
                let rows: Vec<serde_json::Value> = serde_json::from_str(&text).unwrap();
                assert_eq!(rows.len(), config.explain().len());
            }
        }
    }
}
