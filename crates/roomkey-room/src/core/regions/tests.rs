use super::*;

const LIST: &str = r#"{"regions":[
    {"region":"far","url":"wss://far.livekit.cloud","distance":"9000"},
    {"region":"near","url":"https://near.livekit.cloud","distance":"10"},
    {"region":"middle","url":"wss://middle.livekit.cloud","distance":500}
]}"#;

fn url(url: &str) -> ServerUrl {
    ServerUrl::parse(url).unwrap()
}

fn cloud() -> Regions {
    Regions::new(url("wss://project.livekit.cloud"), &RegionFailover::Cloud)
}

fn domains(domains: &[&str]) -> RegionFailover {
    RegionFailover::Domains(domains.iter().map(|domain| (*domain).to_owned()).collect())
}

fn fetched(regions: &mut Regions, body: &str, max_age: Option<Duration>, now: Instant) -> bool {
    let fetch = regions.last_fetch;
    regions.fetched(fetch, Some((body.as_bytes().to_vec(), max_age)), now).unwrap().is_some()
}

fn told(urls: &[&str]) -> Vec<proto::RegionInfo> {
    urls.iter().map(|url| proto::RegionInfo { url: (*url).to_owned(), ..Default::default() }).collect()
}

#[test]
fn regions_are_tried_from_the_nearest_to_the_farthest_and_none_twice() {
    let now = crate::clock::now();
    let mut regions = cloud();
    let Next::Ask(1, asked) = regions.next(now) else { panic!("a list is asked for first") };
    assert_eq!(asked.as_str(), "https://project.livekit.cloud/settings/regions");
    assert_eq!((regions.next(now), regions.timeout()), (Next::Asking, Some(now + FETCH_TIMEOUT)));
    assert!(fetched(&mut regions, LIST, None, now));
    for host in ["near", "middle", "far"] {
        assert_eq!(regions.next(now), Next::Region);
        assert_eq!(regions.current(), &url(&format!("wss://{host}.livekit.cloud")));
    }
    assert_eq!(regions.next(now), Next::Nothing);
    regions.start_over();
    assert!(!regions.has_moved() && regions.next(now) == Next::Region);
}

#[test]
fn a_list_is_asked_for_again_when_it_is_too_old_and_serves_while_there_is_no_newer_one() {
    let mut now = crate::clock::now();
    for (max_age, holds) in [(None, DEFAULT_MAX_AGE), (Some(Duration::MAX), LONGEST_MAX_AGE)] {
        let mut regions = cloud();
        regions.ask(now);
        assert!(fetched(&mut regions, LIST, max_age, now));
        assert_eq!(regions.next(now + holds - Duration::from_millis(1)), Next::Region);
        now += holds;
        assert!(matches!(regions.next(now), Next::Ask(2, _)));
        assert_eq!(regions.fetched(1, None, now), None, "an earlier question");
        assert_eq!(regions.is_fetch_overdue(now), None);
        assert_eq!(regions.is_fetch_overdue(now + FETCH_TIMEOUT), Some(2));
        assert_eq!(regions.fetched(2, None, now), Some(None));
        assert_eq!(regions.next(now), Next::Region);
        assert!(matches!(regions.next(now + FETCH_PAUSE), Next::Ask(3, _)));
    }
}

#[test]
fn regions_are_asked_for_only_at_hosts_that_the_setting_names_and_over_tls() {
    let has = |server: &str, failover: &RegionFailover| Regions::new(url(server), failover).may_have_others();
    for (server, of_cloud) in [
        ("wss://project.livekit.cloud", true),
        ("https://project.eu.livekit.run:8443", true),
        ("ws://project.livekit.cloud", false),
        ("wss://livekit.cloud.example.com", false),
        ("wss://notlivekit.cloud", false),
        ("wss://example.com", false),
        ("ws://localhost:7880", false),
    ] {
        assert_eq!(has(server, &RegionFailover::Cloud), of_cloud, "{server}");
        assert!(!has(server, &RegionFailover::Off));
    }
    let own = domains(&[".Example.com", "127.0.0.1", ""]);
    for (server, expected) in [
        ("wss://example.com", true),
        ("wss://rtc.example.com", true),
        ("ws://rtc.example.com", false),
        ("ws://127.0.0.1:7880", true),
        ("wss://project.livekit.cloud", false),
    ] {
        assert_eq!(has(server, &own), expected, "{server}");
    }
    let now = crate::clock::now();
    let mut off = Regions::new(url("wss://project.livekit.cloud"), &RegionFailover::Off);
    assert_eq!((off.next(now), off.ask(now)), (Next::Nothing, Next::Nothing));
    assert!(!off.told(&told(&["wss://a.livekit.cloud"]), now));
}

#[test]
fn a_token_goes_to_no_host_of_another_domain_and_to_none_without_tls() {
    let now = crate::clock::now();
    let bad = [
        "ws://a.livekit.cloud",
        "http://a.livekit.cloud",
        "ftp://a.livekit.cloud",
        "wss://livekit.cloud.example.com",
        "wss://example.com/livekit.cloud",
        "wss://name:secret@a.livekit.cloud",
        "wss://127.0.0.1",
        "ws://127.0.0.1",
        "wss://a.livekit.cloud@example.com",
        "a.livekit.cloud",
        "",
    ];
    let mut regions = cloud();
    assert!(!regions.told(&told(&bad), now) && !regions.has_moved());
    let long = format!("wss://a.livekit.cloud/{}", "a".repeat(LONGEST_URL));
    let mut both: Vec<_> = bad.to_vec();
    both.extend([long.as_str(), "wss://good.livekit.run", "wss://good.livekit.run/"]);
    assert!(regions.told(&told(&both), now));
    assert_eq!(regions.known.unwrap().urls, [url("wss://good.livekit.run")]);
}

#[test]
fn without_tls_a_region_is_of_this_machine_and_so_is_the_first() {
    let now = crate::clock::now();
    let urls = told(&["ws://127.0.0.1:1", "ws://[::1]:2", "ws://rtc.example.com", "wss://rtc.example.com"]);
    let known = |first: &str| {
        let mut regions = Regions::new(url(first), &domains(&["127.0.0.1", "example.com"]));
        regions.told(&urls, now);
        regions.known.map(|known| known.urls)
    };
    assert_eq!(known("ws://127.0.0.1:3").unwrap(), [url("ws://127.0.0.1:1"), url("wss://rtc.example.com")]);
    assert_eq!(known("wss://example.com").unwrap(), [url("wss://rtc.example.com")]);
}

#[test]
fn what_is_no_list_is_passed_over_and_a_long_one_is_cut() {
    let now = crate::clock::now();
    for body in ["", "[]", "{}", r#"{"regions":{}}"#, "<html>", r#"{"regions":null}"#] {
        let mut regions = cloud();
        regions.ask(now);
        assert!(!fetched(&mut regions, body, None, now), "{body}");
        assert_eq!((regions.next(now), regions.patience()), (Next::Nothing, None));
    }
    let entries: Vec<_> = (0..1_000).map(|n| format!(r#"{{"url":"wss://r{n}.livekit.cloud"}}"#)).collect();
    let mut regions = cloud();
    regions.ask(now);
    assert!(fetched(&mut regions, &format!(r#"{{"regions":[7,{{}},{}]}}"#, entries.join(",")), None, now));
    assert_eq!(regions.known.unwrap().urls.len(), MAX_REGIONS - 2);
    let mut regions = cloud();
    assert!(regions.told(&told(&vec!["wss://a.livekit.cloud"; 1_000]), now));
    assert_eq!(regions.known.unwrap().urls.len(), 1);
}

#[test]
fn a_leave_clears_what_failed_and_its_nearest_region_may_be_the_current_one() {
    let now = crate::clock::now();
    let mut regions = cloud();
    regions.ask(now);
    assert!(fetched(&mut regions, LIST, None, now) && regions.next(now) == Next::Region);
    assert_eq!(regions.patience(), Some(3));
    assert!(regions.told(&told(&["wss://near.livekit.cloud", "wss://other.livekit.cloud"]), now));
    regions.go_to_nearest();
    assert_eq!((regions.current(), regions.patience()), (&url("wss://near.livekit.cloud"), Some(1)));
    assert_eq!(regions.next(now), Next::Region);
    assert_eq!(regions.current(), &url("wss://other.livekit.cloud"));
    regions.connected();
    assert_eq!((regions.patience(), regions.current()), (None, &url("wss://other.livekit.cloud")));
}

#[test]
fn no_mutilation_of_a_list_makes_a_host_trusted() {
    let now = crate::clock::now();
    for seed in 0..2_000 {
        let mut rng = fastrand::Rng::with_seed(seed);
        let mut body = LIST.as_bytes().to_vec();
        for _ in 0..rng.usize(1..8) {
            let at = rng.usize(..body.len());
            body[at] = *rng.choice(b"./@:?#[]\\x%0\"").expect("there are some");
        }
        let mut regions = cloud();
        regions.ask(now);
        regions.fetched(1, Some((body, None)), now);
        for url in regions.known.iter().flat_map(|known| &known.urls) {
            assert!(url.is_secure() && url.host().ends_with(".livekit.cloud"), "seed {seed}: {url:?}");
        }
    }
}
