use super::*;
use crate::limits;

/// P81: each of these is, to one reader or another, an address of the inside.
const INNER: &[&str] = &[
    // As they are written.
    "127.0.0.1",
    "127.255.255.254",
    "0.0.0.0",
    "0.1.2.3",
    "10.0.0.1",
    "10.255.255.255",
    "100.64.0.1",
    "100.127.255.255",
    "169.254.1.1",
    "172.16.0.1",
    "172.31.255.255",
    "192.0.0.1",
    "192.0.2.1",
    "192.88.99.1",
    "192.168.0.1",
    "198.18.0.1",
    "198.19.255.255",
    "198.51.100.1",
    "203.0.113.1",
    "224.0.0.1",
    "239.255.255.250",
    "240.0.0.1",
    "255.255.255.255",
    // Metadata: of most clouds, of containers in AWS, of Alibaba, of Oracle, of Azure.
    "169.254.169.254",
    "169.254.170.2",
    "100.100.100.200",
    "192.0.0.192",
    "168.63.129.16",
    "[fd00:ec2::254]",
    "[fd20:ce::254]",
    // IPv6.
    "[::]",
    "[::1]",
    "[0:0:0:0:0:0:0:1]",
    "[0000:0000:0000:0000:0000:0000:0000:0001]",
    "[fc00::1]",
    "[fdff:ffff::1]",
    "[fe80::1]",
    "[febf::1]",
    "[fec0::1]",
    "[ff02::1]",
    "[100::1]",
    "[2001:db8::1]",
    "[2001:2::1]",
    "[2001:10::1]",
    "[3fff::1]",
    "[4000::1]",
    "[5f00::1]",
    // IPv4 in IPv6: mapped, compatible, translated, NAT64, 6to4, Teredo.
    "[::ffff:127.0.0.1]",
    "[::ffff:7f00:1]",
    "[0:0:0:0:0:ffff:7f00:0001]",
    "[::ffff:10.0.0.1]",
    "[::FFFF:169.254.169.254]",
    "[::127.0.0.1]",
    "[::a9fe:a9fe]",
    "[::ffff:0:127.0.0.1]",
    "[64:ff9b::127.0.0.1]",
    "[64:ff9b::a00:1]",
    "[64:ff9b::169.254.169.254]",
    "[64:ff9b:1::10.0.0.1]",
    "[2002:7f00:1::]",
    "[2002:a9fe:a9fe::1]",
    "[2002:0808:0808::1]",
    "[2001:0:7f00:1::1]",
    "[2001:0:4136:e378:8000:63bf:80ff:fffe]",
];

/// Addresses in disguise: octal, hexadecimal, short, as one number, with dots and zones.
const OBSCURE: &[&str] = &[
    "0177.0.0.1",
    "0177.0.0.01",
    "127.0.0.01",
    "0x7f.0.0.1",
    "0x7f.0x0.0x0.0x1",
    "0X7F.1",
    "0x7f000001",
    "0x7F.0.0x1",
    "0x",
    "017700000001",
    "2130706433",
    "3232235521",
    "2852039166",
    "0",
    "127.1",
    "127.0.1",
    "10.1",
    "127.0.0.1.",
    "8.8.8.8.",
    "2130706433.",
    "256.256.256.256",
    "425.510.425.510",
    "127.0.0.1.5",
    "4294967297",
    "a.1",
    "foo.0x1",
];

/// Hosts that no name or address looks like.
const NO_HOST: &[&str] = &[
    "",
    ".",
    "..",
    "a..b",
    ".a",
    "a..",
    "127.0.0.1..",
    "127%2e0%2e0%2e1",
    "%31%32%37.0.0.1",
    "a%00.example",
    "a,b",
    "a*b",
    "[::1",
    "[]",
    "[::1]x",
    "x[::1]",
    "[127.0.0.1]",
    "[::1].example",
    "[v1.x]",
    "::1",
];

const FOREIGN: &[&str] = &[
    "",
    "example.com",
    "//example.com",
    "/x",
    "ftp://example.com",
    "file:///etc/passwd",
    "gopher://127.0.0.1:70/_x",
    "http:/example.com",
    "http:example.com",
    "javascript:1",
    "httpx://example.com",
    "data:,x",
    "unix:/run/x.sock",
    "http+unix://%2Frun%2Fx.sock/",
];

const WITH_CREDENTIALS: &[&str] = &[
    "http://user@example.com",
    "http://user:pass@example.com/",
    "http://@example.com",
    "http://example.com@127.0.0.1/",
    "http://127.0.0.1:80@example.com/",
    "http://example.com:80%40@127.0.0.1/",
    "https://a@b@example.com",
];

const STRANGE: &[&str] = &[
    // IDNA dots, digits of full width and in circles: 127.0.0.1 to whoever folds them.
    "http://127。0。0。1/",
    "http://127．0．0．1/",
    "http://127｡0｡0｡1/",
    "http://１２７.0.0.1/",
    "http://①②⑦.0.0.1/",
    "http://ⓛocalhost/",
    "http://localhost\u{200b}/",
    "http://localhost\u{ad}/",
    "http://münchen.example/",
    // What is a slash, or nothing, to a browser.
    "http://example.com\\@127.0.0.1/",
    "http:\\\\127.0.0.1/",
    "http://127.0.0.1\\.example.com/",
    "http://exa\tmple.com/",
    "http://example.com/\r\nHost: x",
    "http://example.com/ x",
    " http://example.com",
    "http://example.com\0.evil/",
    "http://example.com/{x}",
    "http://example.com/\"",
    "http://example.com/<x>",
];

const WITH_FRAGMENT: &[&str] = &["http://example.com/#x", "http://example.com#@127.0.0.1/"];

const BAD_PORT: &[&str] = &[
    "http://example.com:",
    "http://example.com:0/",
    "http://example.com:65536/",
    "http://example.com:080/",
    "http://example.com:+80/",
    "http://example.com:-1/",
    "http://example.com:80:80/",
    "http://[2600::1]:/",
    "http://example.com:http/",
];

fn judge(url: &str) -> Result<(), InvalidUrl> {
    Guard::default().judge_url(url)
}

fn of_host(host: &str) -> [Result<(), InvalidUrl>; 4] {
    let urls = [
        "http://HOST/",
        "HTTPS://HOST",
        "https://HOST:8443/x?y=1",
        "Http://HOST?http://example.com",
    ];
    urls.map(|url| judge(&url.replace("HOST", host)))
}

fn guard(allow: &[&str]) -> Guard {
    Guard::new(allow.iter().map(|text| text.parse().expect("an entry")).collect())
}

#[test]
fn an_address_of_the_inside_is_refused_however_it_is_written() {
    for host in INNER {
        for judged in of_host(host) {
            assert!(matches!(judged, Err(InvalidUrl::Reserved(_))), "{host}: {judged:?}");
        }
    }
    for host in OBSCURE {
        assert!(of_host(host).iter().all(|judged| *judged == Err(InvalidUrl::Obscure)), "{host}");
    }
    for host in ["localhost", "LOCALHOST", "localhost.", "a.localhost", "a.b.LocalHost."] {
        let judged = of_host(host);
        assert!(judged.iter().all(|one| matches!(one, Err(InvalidUrl::Reserved(_)))), "{host}");
    }
    for host in ["[fe80::1%eth0]", "[fe80::1%25eth0]", "[::1%lo]", "[2600::1%1]"] {
        assert!(of_host(host).iter().all(|judged| *judged == Err(InvalidUrl::Zone)), "{host}");
    }
}

#[test]
fn what_two_readers_could_read_in_two_ways_is_refused() {
    for host in NO_HOST {
        for judged in of_host(host) {
            assert!(
                matches!(judged, Err(InvalidUrl::Host | InvalidUrl::Port)),
                "{host}: {judged:?}"
            );
        }
    }
    let refused = [
        (InvalidUrl::Scheme, FOREIGN),
        (InvalidUrl::Credentials, WITH_CREDENTIALS),
        (InvalidUrl::Characters, STRANGE),
        (InvalidUrl::Fragment, WITH_FRAGMENT),
        (InvalidUrl::Port, BAD_PORT),
    ];
    for (why, urls) in refused {
        for url in urls {
            assert_eq!(judge(url), Err(why), "{url}");
        }
    }
    let long = format!("http://example.com/{}", "a".repeat(limits::WEBHOOK_URL_BYTES_MAX - 19));
    assert_eq!((judge(&long), judge(&format!("{long}a"))), (Ok(()), Err(InvalidUrl::Length)));
}

#[test]
fn what_is_on_the_public_internet_is_let_through() {
    let hosts = [
        "example.com",
        "example.com.",
        "EXAMPLE.com",
        "a-b.c_d.example",
        "xn--mnchen-3ya.example",
        "hook",
        "metadata.google.internal",
        "1.example",
        "0x7f.1.example",
        "localhost.example",
        "localhosts",
        "8.8.8.8",
        "1.1.1.1",
        "9.255.255.255",
        "11.0.0.0",
        "100.63.255.255",
        "100.128.0.0",
        "126.0.0.1",
        "128.0.0.1",
        "169.253.0.1",
        "172.15.0.1",
        "172.32.0.1",
        "192.0.1.1",
        "192.167.0.1",
        "198.17.0.1",
        "198.20.0.1",
        "223.255.255.255",
        "[2600::1]",
        "[2001:200::1]",
        "[2001:4860:4860::8888]",
        "[2a00:1450::1]",
        "[2003::1]",
        "[::ffff:8.8.8.8]",
        "[64:ff9b::8.8.8.8]",
    ];
    for host in hosts {
        assert_eq!(of_host(host), [Ok(()); 4], "{host}");
    }
    assert_eq!(judge("https://example.com/a@b?to=http://127.0.0.1/:22@&x[]=%2e"), Ok(()));
}

/// The judge of URLs sees names; this one sees what they lead to.
#[test]
fn an_address_is_judged_as_what_it_is_when_it_is_dialled() {
    let at_dial =
        |address: &str| Guard::default().judge("a.example", address.parse().unwrap(), 443);
    for host in INNER {
        let address = host.trim_start_matches('[').trim_end_matches(']');
        assert!(at_dial(address).is_err(), "{address}");
    }
    for address in ["8.8.8.8", "2600::1", "::ffff:8.8.8.8", "64:ff9b::8.8.8.8"] {
        assert_eq!(at_dial(address), Ok(Passage::Public), "{address}");
    }
    assert_eq!(at_dial("::ffff:10.0.0.1").unwrap_err().to_string(), "private (RFC 1918)");
}

#[test]
fn a_port_of_another_protocol_is_refused_wherever_it_is() {
    let guard = guard(&["10.0.0.0/8:25", "mail.internal"]);
    for port in [22, 25, 53, 110, 143, 389, 465, 587, 2049, 6000, 6667, 10080] {
        let why = guard.judge("a.example", "8.8.8.8".parse().unwrap(), port).unwrap_err();
        assert!(why.to_string().starts_with("a port of another protocol"), "{port}");
        for host in ["a.example", "8.8.8.8", "[2600::1]"] {
            let url = format!("http://{host}:{port}/");
            assert!(matches!(guard.judge_url(&url), Err(InvalidUrl::Reserved(_))), "{url}");
        }
    }
    for port in [80, 443, 1024, 3000, 5000, 8000, 8080, 8443, 9000, 65535] {
        assert_eq!(judge(&format!("https://a.example:{port}/")), Ok(()));
    }
    assert_eq!(guard.judge_url("http://10.0.0.7:25/"), Ok(()), "an operator may say otherwise");
    assert_eq!(guard.judge_url("http://mail.internal:25/"), Ok(()));
}

#[test]
fn the_list_lets_through_what_it_names_and_nothing_else() {
    let list = [
        "127.0.0.1:9000",
        "10.0.0.0/8",
        "172.16.0.0/12:443",
        "[fd00::/8]:443",
        "::1",
        "hook.internal",
        "API.internal.:8080",
    ];
    let guard = guard(&list);
    let at = |host: &str, address: &str, port| {
        guard
            .judge(host, address.parse().unwrap(), port)
            .is_ok_and(|passage| passage == Passage::Allowed)
    };
    for (address, port) in [
        ("127.0.0.1", 9000),
        ("::ffff:127.0.0.1", 9000),
        ("10.0.0.1", 1),
        ("10.255.0.1", 443),
        ("64:ff9b::10.0.0.1", 80),
        ("172.31.0.1", 443),
        ("fd12::1", 443),
        ("::1", 80),
    ] {
        assert!(at("a.example", address, port), "{address} {port}");
        let host = if address.contains(':') { format!("[{address}]") } else { address.to_owned() };
        assert_eq!(guard.judge_url(&format!("http://{host}:{port}/")), Ok(()), "{address}");
    }
    for (address, port) in [
        ("127.0.0.1", 9001),
        ("127.0.0.2", 9000),
        ("11.0.0.1", 443),
        ("172.31.0.1", 80),
        ("fd12::1", 80),
        ("fc00::1", 443),
        ("169.254.169.254", 80),
        ("64:ff9b::192.168.0.1", 80),
        ("8.8.8.8", 443),
    ] {
        assert!(!at("a.example", address, port), "{address} {port}");
    }
    // A name is trusted with whatever it leads to, and by itself alone.
    assert!(at("HOOK.internal.", "192.168.0.1", 80) && at("api.internal", "192.168.0.1", 8080));
    assert!(!at("api.internal", "192.168.0.1", 80) && !at("a.hook.internal", "192.168.0.1", 80));
    for url in ["http://localhost:9000/", "http://hook.internal/", "http://localhost/"] {
        assert_eq!(guard.judge_url(url), Ok(()), "{url}");
    }
    let own_port = Guard::new(vec!["127.0.0.1:9000".parse().expect("an entry")]);
    assert!(own_port.judge_url("http://localhost:9001/").is_err());
    assert!(
        Guard::new(vec!["0.0.0.0/0".parse().expect("an entry")])
            .judge_url("http://[::1]/")
            .is_err()
    );
    let everything = Guard::new(vec!["::/0".parse().expect("an entry")]);
    assert_eq!(everything.judge("a", "::1".parse().unwrap(), 22), Ok(Passage::Allowed));
}

#[test]
fn an_entry_that_is_none_says_how_to_write_it() {
    for text in [
        "",
        "http://10.0.0.1",
        "0177.0.0.1",
        "2130706433",
        "10.1",
        "a b",
        "ä.example",
        "*.internal",
        "[127.0.0.1]:80",
        "[a.example]:80",
        "user@host",
        "a.example/x",
        "10.0.0.1.",
    ] {
        assert_eq!(text.parse::<Allowed>(), Err(InvalidAllowed::Form), "{text}");
    }
    for text in ["10.0.0.1:0", "10.0.0.1:", "hook:99999", "[::1]:x"] {
        assert_eq!(text.parse::<Allowed>(), Err(InvalidAllowed::Port), "{text}");
    }
    for text in ["::ffff:10.0.0.1", "::ffff:0:0/96", "[::ffff:1.2.3.4]:80", "64:ff9b::/96"] {
        assert_eq!(text.parse::<Allowed>(), Err(InvalidAllowed::Mapped), "{text}");
    }
    let said = |text: &str| text.parse::<Allowed>().unwrap_err().to_string();
    assert_eq!(said("10.0.0.0/33"), "is no network: its length is from 0 to 32");
    assert_eq!(said("10.0.0.0/"), "is no network: its length is from 0 to 32");
    assert_eq!(said("fd00::/129"), "is no network: its length is from 0 to 128");
    assert_eq!(said("10.1.2.3/8"), "is no network: it begins at 10.0.0.0, write \"10.0.0.0/8\"");
    assert_eq!(said("[fd00::1/8]:443"), "is no network: it begins at fd00::, write \"fd00::/8\"");
}
