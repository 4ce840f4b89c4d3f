//! How this program asks for pages.

use std::net::IpAddr;

use reqwest::{Client, ClientBuilder, Url};

/// What asks for this page. As in browsers, no proxy is asked for a page of this machine.
pub(crate) fn client(url: &Url) -> ClientBuilder {
    let client = Client::builder();
    if is_of_this_machine(url) { client.no_proxy() } else { client }
}

/// The variable that names a proxy on the way to this page, if one does.
pub(crate) fn proxy(url: &Url) -> Option<&'static str> {
    let names = match url.scheme() {
        "https" => ["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"],
        _ => ["HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"],
    };
    let is_set = |name: &&str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    let spared = ["NO_PROXY", "no_proxy"].into_iter().find_map(|name| std::env::var(name).ok());
    let is_spared = spares(&spared.unwrap_or_default(), host(url));
    names.into_iter().find(is_set).filter(|_| !is_of_this_machine(url) && !is_spared)
}

/// Whether a list of hosts that need no proxy may have this one. Ranges of addresses are not looked at.
fn spares(list: &str, host: &str) -> bool {
    list.split(',').map(|one| one.trim().trim_start_matches('.')).any(|one| {
        let is_range = one.contains('/') && host.parse::<IpAddr>().is_ok();
        let is_below = host.strip_suffix(one).is_some_and(|rest| rest.ends_with('.'));
        one == "*" || is_range || !one.is_empty() && (one == host || is_below)
    })
}

fn host(url: &Url) -> &str {
    url.host_str().unwrap_or_default().trim_matches(['[', ']'])
}

fn is_of_this_machine(url: &Url) -> bool {
    let host = host(url);
    let is_loopback = host.parse().is_ok_and(|ip: IpAddr| ip.is_loopback());
    is_loopback || host == "localhost" || host.ends_with(".localhost")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_that_need_no_proxy_are_known() {
        for (list, host, is_one) in [
            ("", "shop.example", false),
            ("a.example, .example", "shop.example", true),
            ("shop.example", "shop.example", true),
            ("op.example", "shop.example", false),
            ("*", "shop.example", true),
            ("10.0.0.0/8", "10.1.2.3", true),
            ("10.0.0.0/8", "shop.example", false),
        ] {
            assert_eq!(spares(list, host), is_one, "{list} {host}");
        }
    }

    #[test]
    fn pages_of_this_machine_are_known_by_their_hosts() {
        for (url, is_one) in [
            ("http://LOCALHOST:8080/", true),
            ("https://shop.localhost/", true),
            ("http://127.0.0.2/", true),
            ("http://[::1]:1/", true),
            ("http://localhost.example/", false),
            ("http://192.0.2.1/", false),
        ] {
            assert_eq!(is_of_this_machine(&Url::parse(url).unwrap()), is_one, "{url}");
        }
    }
}
