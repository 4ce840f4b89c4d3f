//! `cargo xtask providers`: the library leaves the cryptography of TLS to the app.
//!
//! rustls panics in an app that has not installed a provider of cryptography unless exactly one is
//! compiled in, so a library that turns one on ends apps that use the other. The small app in
//! `xtask/providers` is built once for each choice that an app can make by its features, and run with and
//! without a provider that it has installed. It makes TLS connections by rustls' default provider before and
//! after it opens the stores.

use std::fs;

use anyhow::{Context as _, Result, bail};

use crate::step::{Steps, capture, cargo, root};

/// [`run`] as a task.
pub(crate) const TASK: &str = "providers";

/// The app's workspace. It is built where all else is, which has built half of what it depends on.
pub(crate) const MANIFEST: &str = "xtask/providers/Cargo.toml";
const TARGET: &str = "target";

/// The folder of the files that it writes and looks for.
const FILES: &str = "target/providers";

/// What a store says that needs TLS where there is no cryptography for it.
const HINT: &str = "cargo add rustls@0.23";

/// What is said of the app's own server by a store that has spoken TLS with it.
const SPOKEN: &str = "does not answer as a Redis server";

/// How the lines of the app begin that name what rustls has chosen for its own connections.
const PROVIDER: &str = "provider: ";

/// A choice that an app makes by features of its own and when it starts, and what it must find then.
struct Choice {
    features: &'static str,
    /// The provider that it installs as the process's default.
    installs: Option<&'static str>,
    provider: &'static str,
}

const CHOICES: [Choice; 7] = [
    Choice { features: "", installs: None, provider: "None" },
    Choice { features: "ring", installs: None, provider: "Ring" },
    Choice { features: "ring", installs: Some("install-ring"), provider: "Ring" },
    Choice { features: "aws-lc-rs", installs: None, provider: "AwsLcRs" },
    Choice { features: "aws-lc-rs", installs: Some("install-aws-lc-rs"), provider: "AwsLcRs" },
    // With both compiled in, rustls itself asks the app to choose.
    Choice { features: "aws-lc-rs,ring", installs: Some("install-ring"), provider: "Ring" },
    Choice { features: "aws-lc-rs,ring", installs: Some("install-aws-lc-rs"), provider: "AwsLcRs" },
];

pub(crate) fn run(steps: &mut Steps) -> Result<()> {
    steps.run("rustls' provider", || {
        // The versions of the workspace, so that little has to be downloaded and nothing differs.
        fs::copy(root().join("Cargo.lock"), root().join(MANIFEST).with_file_name("Cargo.lock"))
            .context("could not copy Cargo.lock to the app")?;
        fs::create_dir_all(root().join(FILES)).context("could not make the app's folder")?;
        CHOICES.iter().try_for_each(try_choice)
    })
}

fn try_choice(choice: &Choice) -> Result<()> {
    let run = ["run", "--quiet", "--manifest-path", MANIFEST, "--target-dir", TARGET];
    let mut run = cargo(&run);
    run.args(["--features", choice.features, "--"]).args(choice.installs);
    // Nothing but what the app says: no emulator, and credentials that are not there.
    run.env_remove("FIRESTORE_EMULATOR_HOST");
    let files = root().join(FILES);
    run.env("GOOGLE_APPLICATION_CREDENTIALS", files.join("absent.json"));
    run.env("CERTIFICATE", files.join("certificate.pem"));
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
    let compiled = match choice.features {
        "" => "no provider".to_owned(),
        features => format!("rustls's {features}"),
    };
    choice.installs.map_or(compiled.clone(), |what| format!("{compiled} and `{what}`"))
}

/// What is wrong with what the app printed.
fn problems(choice: &Choice, printed: &str) -> Vec<String> {
    let (providers, stores): (Vec<_>, Vec<_>) =
        printed.lines().partition(|line| line.starts_with(PROVIDER));
    let has_one = !choice.features.is_empty();
    // One connection before the stores are opened, and one after.
    let expected = vec![format!("{PROVIDER}{}", choice.provider); 1 + usize::from(has_one)];
    let mut problems = Vec::new();
    if providers != expected {
        problems.push(format!("rustls has not chosen {} each time", choice.provider));
    }
    if stores.is_empty() {
        problems.push("no store was tried".to_owned());
    }
    if has_one && !stores.iter().any(|line| line.contains(SPOKEN)) {
        problems.push("no store has spoken TLS with the app's server".to_owned());
    }
    for store in stores {
        match (has_one, store.contains(HINT)) {
            (false, false) => problems.push(format!("does not say `{HINT}`: {store}")),
            (true, true) => problems.push(format!("does not find it: {store}")),
            _ => {}
        }
    }
    problems
}

#[cfg(test)]
mod tests {
    use super::*;

    const NONE: Choice = Choice { features: "", installs: None, provider: "None" };
    const RING: Choice = Choice { features: "ring", installs: None, provider: "Ring" };
    const BOTH_TIMES: &str = "provider: Ring\nprovider: Ring\n";

    #[test]
    fn a_store_uses_the_provider_that_the_app_has() {
        let spoken = format!("rediss://a: what listens {SPOKEN}\n{BOTH_TIMES}");
        assert!(problems(&RING, &spoken).is_empty());
        let blind = format!("{spoken}rediss://a: do `cargo add rustls@0.23`\n");
        assert_eq!(problems(&RING, &blind).len(), 1);
        assert_eq!(problems(&RING, &spoken.replace("Ring", "AwsLcRs")).len(), 1);
        let once = spoken.replace(BOTH_TIMES, "provider: Ring\n");
        assert_eq!(problems(&RING, &once).len(), 1, "it did not come to its end");
    }

    #[test]
    fn without_a_provider_each_store_says_what_to_do() {
        let good = "rediss://a: do `cargo add rustls@0.23`\nprovider: None\n";
        assert!(problems(&NONE, good).is_empty());
        // One was compiled in, and by whom if not by the library?
        assert_eq!(problems(&NONE, "rediss://a: refused\nprovider: Some(Ring)\n").len(), 2);
    }

    #[test]
    fn an_app_whose_stores_spoke_to_nobody_proves_nothing() {
        assert_eq!(problems(&RING, BOTH_TIMES).len(), 2);
        assert_eq!(problems(&RING, &format!("rediss://a: refused\n{BOTH_TIMES}")).len(), 1);
    }
}
