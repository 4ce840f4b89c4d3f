use super::*;

fn run(arguments: &[&str], environment: &[(&str, &str)]) -> Result<Command, Wrong> {
    let environment: Vec<_> = environment.to_vec();
    command(arguments.iter().map(OsString::from), |name| {
        environment.iter().find(|(known, _)| *known == name).map(|(_, value)| value.into())
    })
}

fn options(arguments: &[&str], environment: &[(&str, &str)]) -> Options {
    match run(arguments, environment) {
        Ok(Command::Serve(options)) => *options,
        other => panic!("{arguments:?} {environment:?}: {other:?}"),
    }
}

fn wrong(arguments: &[&str], environment: &[(&str, &str)]) -> String {
    run(arguments, environment).expect_err("must be refused").0
}

#[test]
fn without_options_it_serves_this_machine_from_a_folder_here() {
    let options = options(&[], &[]);
    assert_eq!(options.listen, "127.0.0.1:8080".parse().unwrap());
    assert_eq!(options.store.value, "sqlite:greetings-data");
    assert_eq!(options.namespace, "greetings");
    assert_eq!(options.transport, Transport::Loopback);
    let [header_time, request_time, drain_time] = [10, 30, 9].map(Duration::from_secs);
    let in_flight = 512;
    let limits = Limits { in_flight, header_time, request_time, drain_time, per_client: true };
    assert_eq!(options.limits, limits);
    assert_eq!(options.store_time, None);
    assert!(!options.lab);
}

#[test]
fn the_help_names_every_option_and_its_default() {
    for name in NAMES {
        assert!(HELP.contains(&format!("--{name}")), "--{name}");
    }
    for default in [
        "127.0.0.1:8080",
        "sqlite:greetings-data",
        "60s",
        "30d",
        "365d",
        "512",
        "10s",
        "30s",
        "9s",
        "1s",
    ] {
        assert!(HELP.contains(&format!("[default: {default}")), "{default}");
    }
    assert!(HELP.lines().all(|line| line.chars().count() <= 100));
}

#[test]
fn each_timeout_can_be_set() {
    let typed = ["--header-timeout=2s", "--request-timeout=3m", "--drain-timeout=1h"];
    let options = options(&[&typed[..], &["--store-timeout", "5s"]].concat(), &[]);
    let Limits { header_time, request_time, drain_time, .. } = options.limits;
    let all = [header_time, request_time, drain_time].map(|time| time.as_secs());
    assert_eq!((all, options.store_time), ([2, 180, 3600], Some(Duration::from_secs(5))));
    for name in ["header", "request", "drain", "store"] {
        for value in ["0s", "61m", "1"] {
            let why = wrong(&[&format!("--{name}-timeout={value}")], &[]);
            assert!(why.ends_with("it takes a duration from 1s to 1h"), "{why}");
        }
    }
}

#[test]
fn dead_sessions_are_swept_each_minute_unless_it_was_said() {
    let sweep =
        |arguments: &[&str]| options(arguments, &[]).sweep_every.map(|every| every.as_secs());
    assert_eq!(sweep(&[]), Some(60));
    assert_eq!(sweep(&["--sweep", "1d"]), Some(86_400));
    assert_eq!(sweep(&["--sweep", "off"]), None);
    assert!(wrong(&["--sweep", "2d"], &[]).ends_with("it takes off, or a duration from 1s to 1d"));
}

#[test]
fn the_environment_says_on_which_platform_it_runs() {
    let platform = |name| options(&[], &[(name, "x")]).platform;
    assert_eq!(platform("K_SERVICE"), Platform::CloudRun);
    assert_eq!(platform("GAE_SERVICE"), Platform::AppEngine);
    assert_eq!(platform("KUBERNETES_SERVICE_HOST"), Platform::Kubernetes);
    assert_eq!(platform("HOME"), Platform::Unknown);
    assert_eq!(options(&[], &[("K_SERVICE", "")]).platform, Platform::Unknown);
}

#[test]
fn the_log_is_for_people_unless_the_platform_is_google_s() {
    let format = |arguments: &[&str], environment: &[(&str, &str)]| {
        options(arguments, environment).log_format
    };
    assert_eq!(format(&[], &[("KUBERNETES_SERVICE_HOST", "x")]), LogFormat::Text);
    assert_eq!(format(&[], &[("GAE_SERVICE", "x")]), LogFormat::Google);
    assert_eq!(format(&["--log-format=text"], &[("K_SERVICE", "x")]), LogFormat::Text);
    assert_eq!(format(&["--log-format", "google"], &[]), LogFormat::Google);
    let takes = "--log-format \"json\": it takes text or google";
    assert_eq!(wrong(&["--log-format", "json"], &[]), takes);
}

#[test]
fn a_project_is_that_of_the_platform_or_that_of_the_sessions() {
    let project = |store, environment: &[(&str, &str)]| {
        options(&["--store", store], environment).service.project
    };
    assert_eq!(project("firestore://mine/c", &[]).as_deref(), Some("mine"));
    let other = ("GOOGLE_CLOUD_PROJECT", "other");
    assert_eq!(project("firestore://mine/c", &[other]).as_deref(), Some("other"));
    assert_eq!(project("memory:", &[("GOOGLE_CLOUD_PROJECT", "")]), None);
}

#[test]
fn an_option_wins_over_its_variable_even_over_a_wrong_one() {
    let environment = [("PORT", "none"), ("INGLE_STORE", "memory:")];
    let options = options(&["--listen", "[::1]:0", "--store=sqlite:x"], &environment);
    assert_eq!(options.listen, "[::1]:0".parse().unwrap());
    assert_eq!(options.store.value, "sqlite:x");
}

#[test]
fn an_emulator_is_where_a_firestore_is_and_nowhere_else() {
    let emulator =
        |store, host| options(&["--store", store], &[("FIRESTORE_EMULATOR_HOST", host)]).emulator;
    let host = "127.0.0.1:8080";
    assert_eq!(emulator("firestore://p/c?ids=plain", host).as_deref(), Some(host));
    assert_eq!(emulator("firestore://p/c", ""), None);
    assert_eq!(emulator("memory:", host), None);
    assert_eq!(options(&["--store", "firestore://p/c"], &[]).emulator, None);
}

#[test]
fn a_platform_that_sets_the_port_means_all_interfaces_behind_https() {
    let options = options(&[], &[("PORT", "8081"), ("INGLE_STORE", "memory:")]);
    assert_eq!(options.listen, "0.0.0.0:8081".parse().unwrap());
    assert_eq!(options.store.value, "memory:");
    assert_eq!(options.transport, Transport::Https);
    assert!(!options.limits.per_client);
}

#[test]
fn with_accounts_sessions_end_as_those_of_users_do() {
    let with = options(&["--accounts", "users"], &[]);
    assert_eq!(with.accounts.as_deref(), Some("users".as_ref()));
    assert_eq!(with.lifetime, Lifetime::default());
    let [idle, absolute] = [1, 2].map(|days| Duration::from_secs(days * 24 * 60 * 60));
    let set = options(&["--accounts", "users", "--idle", "1d", "--absolute", "2d"], &[]);
    assert_eq!(set.lifetime, Lifetime::new(idle, absolute).unwrap());
    assert_eq!(options(&[], &[]).accounts, None);
}

#[test]
fn plain_http_needs_loopback_or_to_be_asked_for() {
    let transport = |arguments: &[&str]| options(arguments, &[]).transport;
    assert_eq!(transport(&["--listen", "[::1]:80"]), Transport::Loopback);
    assert_eq!(transport(&["--listen", "[::ffff:127.0.0.1]:80"]), Transport::Loopback);
    assert_eq!(transport(&["--insecure-http"]), Transport::Loopback);
    assert_eq!(transport(&["--behind-https"]), Transport::Https);
    assert_eq!(transport(&["--listen", "192.0.2.1:80"]), Transport::Https);
    assert_eq!(transport(&["--listen", "[::]:80", "--insecure-http"]), Transport::Insecure);
}

#[test]
fn a_duration_is_a_whole_number_and_a_unit() {
    for (text, seconds) in
        [("0s", 0), ("90s", 90), ("30m", 1_800), ("12h", 43_200), ("030d", 2_592_000)]
    {
        assert_eq!(duration(text), Some(Duration::from_secs(seconds)), "{text}");
    }
    let too_much = format!("{}d", u64::MAX);
    let refused = [
        "", "s", "30", "30 m", "30min", "-1s", "+1s", "1e9s", "1.5h", "1ms", "30M", " 30s", "٣s",
        "1€", &too_much,
    ];
    for text in refused {
        assert_eq!(duration(text), None, "{text}");
    }
}

#[test]
fn what_is_wrong_is_named_with_what_is_allowed() {
    let unit = "it takes a duration with its unit, such as 90s, 30m, 12h or 30d";
    assert_eq!(wrong(&["--idle", "30"], &[]), format!("--idle \"30\": {unit}"));
    assert_eq!(wrong(&[], &[("PORT", "http")]), "PORT \"http\": it takes a port, 0 to 65535");
    assert_eq!(
        wrong(&["--listen=a\nb"], &[]),
        "--listen \"a\\nb\": it takes an address and a port, such as 127.0.0.1:8080"
    );
    assert_eq!(wrong(&["--store"], &[]), "--store needs a value");
    assert_eq!(wrong(&["--lab=yes"], &[]), "--lab takes no value, and it was given \"yes\"");
    assert_eq!(
        wrong(&["--listne", "x"], &[]),
        "there is no option \"--listne\"; did you mean --listen?"
    );
    assert_eq!(
        wrong(&["serve"], &[]),
        "\"serve\" is not an option of this program; see greetings --help"
    );
}

#[test]
fn fuzz_the_command_line() {
    let words = [
        "--listen",
        "--store",
        "--idle=",
        "--absolute",
        "--namespace",
        "--in-flight",
        "--lab",
        "--",
        "-",
        "-h",
        "--header-timeout=",
        "--store-timeout",
        "127.0.0.1:0",
        "[::1]:80",
        "memory:",
        "30m",
        "1s",
        "0",
        "-1s",
        "18446744073709551615d",
        "99999999999999999999",
        "a\nb",
        "\u{202e}",
        "é",
        "",
        "--listne",
        "account",
        "add",
        "--accounts",
    ];
    let inputs = std::cell::Cell::new(0_u64);
    arbtest::arbtest(|u| {
        inputs.set(inputs.get() + 1);
        let mut line = || {
            let n = u.int_in_range(0..=4)?;
            let words: arbtest::arbitrary::Result<Vec<_>> =
                (0..n).map(|_| Ok(*u.choose(&words)?)).collect();
            Ok(if u.arbitrary()? {
                vec![words?.concat()]
            } else {
                words?.iter().map(|word| (*word).to_owned()).collect()
            })
        };
        let (mut arguments, mut environment) = (line()?, Vec::new());
        arguments.extend(line()?);
        for name in ["PORT", "INGLE_STORE", "RUST_LOG", "FIRESTORE_EMULATOR_HOST"] {
            environment.push((name, line()?.concat()));
        }
        let variable = |name: &str| {
            let value = environment.iter().find(|(known, _)| *known == name);
            value.map(|(_, value)| value.into())
        };
        if let Err(Wrong(why)) = command(arguments.iter().map(OsString::from), variable) {
            assert_eq!(why.lines().count(), 1, "{arguments:?}: {why}");
        }
        Ok(())
    });
    println!("fuzz target the command line: {}", inputs.get());
}

#[test]
fn each_namespace_has_a_cookie_of_its_own() {
    let name = |namespace| cookie_name("__Host-id", namespace);
    assert_eq!(name("greetings"), "__Host-id");
    assert_eq!(name("shop"), "__Host-id-shop");
    let long = "x".repeat(NAMESPACE_BYTES_MAX);
    for odd in ["a b", "a;b", "é", "a=b", &long] {
        let name = name(odd);
        assert_eq!(name.len(), "__Host-id-".len() + 16, "{odd}: {name}");
        assert!(name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte)));
    }
    assert_ne!(name("a b"), name("a;b"));
}
