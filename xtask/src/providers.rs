//! `cargo xtask providers`: the library leaves the cryptography of TLS to the app.
//!
//! rustls panics in an app that has not installed a provider of cryptography unless exactly one is
//! compiled in, so a library that turns one on ends apps that use the other. The small app in
//! `xtask/providers` is built and run once for each choice that an app can make, and once with none.

use std::fs;

use anyhow::{Context as _, Result, bail};

use crate::step::{Steps, capture, cargo, root};

/// The app's workspace, and the folder that it is built in.
pub(crate) const MANIFEST: &str = "xtask/providers/Cargo.toml";
const TARGET: &str = "target/providers";

/// What a store says that needs TLS where there is no cryptography for it.
const HINT: &str = "cargo add rustls";

/// How the line of the app begins that names what rustls has chosen for it.
const PROVIDER: &str = "provider: ";

/// A choice that an app makes by a feature of its own, and what it must find then.
struct Choice {
    feature: Option<&'static str>,
    provider: &'static str,
}

const CHOICES: [Choice; 3] = [
    Choice { feature: None, provider: "None" },
    Choice { feature: Some("ring"), provider: "Ring" },
    Choice { feature: Some("aws-lc-rs"), provider: "AwsLcRs" },
];

pub(crate) fn run(steps: &mut Steps) -> Result<()> {
    steps.run("rustls' provider", || {
        // The versions of the workspace, so that little has to be downloaded and nothing differs.
        fs::copy(root().join("Cargo.lock"), root().join(MANIFEST).with_file_name("Cargo.lock"))
            .context("could not copy Cargo.lock to the app")?;
        CHOICES.iter().try_for_each(try_choice)
    })
}

fn try_choice(choice: &Choice) -> Result<()> {
    let features = choice.feature.unwrap_or_default();
    let run = ["run", "--manifest-path", MANIFEST, "--target-dir", TARGET, "--features", features];
    let mut run = cargo(&run);
    // Nothing but what the app says: no emulator, and credentials that are not there.
    run.env_remove("FIRESTORE_EMULATOR_HOST");
    run.env("GOOGLE_APPLICATION_CREDENTIALS", root().join(TARGET).join("absent.json"));
    let printed = capture(run).with_context(|| format!("with {}", named(choice)))?;
    let problems = problems(choice, &printed);
    if !problems.is_empty() {
        bail!(
            "with {}: {}. Which dependency chooses, tells `cargo tree --manifest-path {MANIFEST} \
             --edges features --invert rustls`. The app printed:\n{printed}",
            named(choice),
            problems.join("; ")
        );
    }
    println!("With {}, all is as it must be.", named(choice));
    Ok(())
}

fn named(choice: &Choice) -> String {
    choice.feature.map_or_else(|| "no provider".to_owned(), |feature| format!("rustls's {feature}"))
}

/// What is wrong with what the app printed.
fn problems(choice: &Choice, printed: &str) -> Vec<String> {
    let (provider, stores): (Vec<_>, Vec<_>) =
        printed.lines().partition(|line| line.starts_with(PROVIDER));
    let mut problems = Vec::new();
    if provider != [format!("{PROVIDER}{}", choice.provider)] {
        problems.push(format!("rustls has not chosen {}", choice.provider));
    }
    if stores.is_empty() {
        problems.push("no store was tried".to_owned());
    }
    for store in stores {
        match (choice.feature, store.contains(HINT)) {
            (None, false) => problems.push(format!("does not say `{HINT}`: {store}")),
            (Some(_), true) => problems.push(format!("does not find it: {store}")),
            _ => {}
        }
    }
    problems
}

#[cfg(test)]
mod tests {
    use super::*;

    const NONE: Choice = Choice { feature: None, provider: "None" };
    const RING: Choice = Choice { feature: Some("ring"), provider: "Ring" };

    #[test]
    fn a_store_uses_the_provider_that_the_app_has() {
        assert!(problems(&RING, "rediss://a: refused\nprovider: Ring\n").is_empty());
        let blind = "rediss://a: do `cargo add rustls`\nprovider: Ring\n";
        assert_eq!(problems(&RING, blind).len(), 1);
        assert_eq!(problems(&RING, "rediss://a: refused\nprovider: AwsLcRs\n").len(), 1);
    }

    #[test]
    fn without_a_provider_each_store_says_what_to_do() {
        let good = "rediss://a: do `cargo add rustls`\nprovider: None\n";
        assert!(problems(&NONE, good).is_empty());
        // One was compiled in, and by whom if not by the library?
        assert_eq!(problems(&NONE, "rediss://a: refused\nprovider: Some(Ring)\n").len(), 2);
    }

    #[test]
    fn an_app_that_tries_no_store_proves_nothing() {
        assert_eq!(problems(&RING, "provider: Ring\n").len(), 1);
    }
}
