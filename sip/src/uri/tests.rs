//! URIs as RFC 3261 §19.1 and RFC 4475 write them.

use proptest::prelude::*;

use super::*;

fn uri(text: &str) -> Uri {
    Uri::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"))
}

#[test]
fn every_part_is_found_where_the_grammar_puts_it() {
    let uri = uri("SIP:alice;day=tue:se%25cret@[2001:db8::1]:5070;transport=tcp;lr?Subject=a%20b&Priority=");

    assert_eq!(uri.scheme(), Scheme::Sip);
    assert_eq!(uri.user(), Some("alice;day=tue"));
    assert_eq!(uri.password(), Some("se%25cret"));
    assert_eq!(uri.host(), Some(Host::V6("2001:db8::1".parse().unwrap())));
    assert_eq!(uri.port(), Some(5070));
    assert_eq!(uri.param("Transport"), Some("tcp"));
    assert_eq!(uri.param("lr"), Some(""));
    assert_eq!(uri.param("maddr"), None);
    let headers: Vec<_> = uri.headers().collect();
    assert_eq!(headers, [("Subject".into(), "a b".into()), ("Priority".into(), "".into())]);
}

#[test]
fn a_tel_uri_has_a_number_and_no_host() {
    let number = uri("tel:+1-201-555-0123;phone-context=example.com");

    assert_eq!((number.scheme(), number.user()), (Scheme::Tel, Some("+1-201-555-0123")));
    assert_eq!((number.host(), number.param("phone-context")), (None, Some("example.com")));
    assert!(number.is_equivalent(&uri("TEL:+12015550123;phone-context=EXAMPLE.com")));
    assert!(!number.is_equivalent(&uri("tel:+12015550123")));
}

#[test]
fn an_empty_user_is_none() {
    let anonymous = uri("sip:@host");

    assert_eq!((anonymous.user(), anonymous.host()), (None, Some(Host::Domain("host"))));
    assert_eq!(anonymous.as_str(), "sip:@host");
}

#[test]
fn a_uri_of_another_scheme_is_kept_whole() {
    let opaque = uri("soap.beep://192.0.2.103:3002/x?y");

    assert_eq!((opaque.scheme(), opaque.host(), opaque.user()), (Scheme::Other, None, None));
    assert_eq!(opaque.to_string(), "soap.beep://192.0.2.103:3002/x?y");
}

#[test]
fn what_could_be_read_in_two_ways_is_refused() {
    for bad in [
        "",
        "sip",
        "sip:",
        ":",
        "sip:a@",
        "sip:a@b@c",
        "sip:host:",
        "sip:host:x",
        "sip:host:65536",
        "sip:host;",
        "sip:host;;lr",
        "sip:host;=x",
        "sip:a b@host",
        "<sip:a@host>",
        "sip:a@host;x=\"y\"",
        "sip:a%4@host",
        "sip:a@host;x=%zz",
        "sip:2001:db8::10",
        "sip:a@[2001:db8:::1]",
        "sip:a@host\r\n",
        "sip:a@host;lr x",
        "1sip:a",
        "tel:",
        "tel:+",
        "tel:-",
        "tel:abc@host",
        "sip:u@host;lr@x",
        "sip:u@host?a=b@c",
        "sip:a@host\0",
    ] {
        assert!(Uri::parse(bad).is_err(), "{bad:?} was read");
    }
    assert!(Uri::parse(b"sip:\xff@host").is_err());
}

/// RFC 3261 §19.1.4, the examples of the section.
#[test]
fn equivalence_follows_the_examples_of_the_rfc() {
    for (one, other) in [
        ("sip:%61lice@atlanta.com;transport=TCP", "sip:alice@AtLanTa.CoM;Transport=tcp"),
        ("sip:carol@chicago.com", "sip:carol@chicago.com;newparam=5"),
        ("sip:carol@chicago.com", "sip:carol@chicago.com;security=on"),
        (
            "sip:biloxi.com;transport=tcp;method=REGISTER?to=sip:bob%40biloxi.com",
            "sip:biloxi.com;method=REGISTER;transport=tcp?to=sip:bob%40biloxi.com",
        ),
        (
            "sip:alice@atlanta.com?subject=project%20x&priority=urgent",
            "sip:alice@atlanta.com?priority=urgent&subject=project%20x",
        ),
    ] {
        assert!(uri(one).is_equivalent(&uri(other)), "{one} {other}");
    }
    for (one, other) in [
        ("SIP:ALICE@AtLanTa.CoM;Transport=udp", "sip:alice@AtLanTa.CoM;Transport=UDP"),
        ("sip:bob@biloxi.com", "sip:bob@biloxi.com:5060"),
        ("sip:bob@biloxi.com", "sip:bob@biloxi.com;transport=udp"),
        ("sip:bob@biloxi.com", "sip:bob@biloxi.com:6000;transport=tcp"),
        ("sip:carol@chicago.com", "sip:carol@chicago.com?Subject=next%20meeting"),
        ("sip:bob@phone21.boxesbybob.com", "sip:bob@192.0.2.4"),
        ("sip:carol@chicago.com;security=on", "sip:carol@chicago.com;security=off"),
        ("sip:a%3Bb@host", "sip:a;b@host"),
        ("sip:null-%00@host", "sip:null-%00%00@host"),
        ("sip:host", "sips:host"),
    ] {
        assert!(!uri(one).is_equivalent(&uri(other)), "{one} {other}");
        assert!(!uri(other).is_equivalent(&uri(one)), "{other} {one}");
    }
}

#[test]
fn parts_can_be_changed_without_touching_the_others() {
    let target = uri("sip:a?b@host:5070;Transport=udp;lr;method=INVITE?Route=x");

    assert_eq!(
        target.with_param("transport", Some("tcp")).as_str(),
        "sip:a?b@host:5070;lr;method=INVITE;transport=tcp?Route=x"
    );
    assert_eq!(target.with_param("ob", None).param("ob"), Some(""));
    assert_eq!(target.with_param("x", Some("a;b\r\n@ü")).param("x"), Some("a%3Bb%0D%0A%40%C3%BC"));
    assert_eq!(target.without_headers().as_str(), "sip:a?b@host:5070;Transport=udp;lr");
    assert_eq!(uri("urn:x").with_param("lr", None).as_str(), "urn:x");
}

#[test]
fn a_built_uri_escapes_whatever_the_user_part_is() {
    let built = Uri::sip(Some("a b@c\r\n<#>"), Host::Domain("example.net"), Some(5070)).unwrap();

    assert_eq!(built.as_str(), "sip:a%20b%40c%0D%0A%3C%23%3E@example.net:5070");
    assert_eq!(built.user_text().as_deref(), Some("a b@c\r\n<#>"));
}

#[test]
fn a_host_with_more_in_it_than_a_host_builds_no_uri() {
    for host in ["", "h;lr", "h:1", "h?x=y", "u@h", "a b", "h\r\n", "[::1]"] {
        assert!(Uri::sip(None, Host::Domain(host), None).is_err(), "{host:?}");
    }
}

proptest! {
    #[test]
    fn a_uri_reads_back_as_the_same_uri(uri in any_uri()) {
        let again = Uri::parse(uri.to_string()).unwrap();

        prop_assert_eq!(&again, &uri);
        prop_assert!(again.is_equivalent(&uri));
    }

    #[test]
    fn any_user_and_parameter_survive_escaping(user in ".{1,20}", value in ".{0,20}") {
        let uri = Uri::sip(Some(&user), Host::Domain("example.net"), None).unwrap().with_param("x", Some(&value));

        prop_assert_eq!(uri.user_text().unwrap(), user);
        prop_assert_eq!(unescape(uri.param("x").unwrap()), value);
        prop_assert_eq!(uri.host(), Some(Host::Domain("example.net")));
    }

    #[test]
    fn no_text_panics(text in ".{0,60}", other in "(sip|tel):[ -~]{0,60}") {
        let (text, other) = (Uri::parse(text), Uri::parse(other));
        if let (Ok(text), Ok(other)) = (text, other) {
            text.is_equivalent(&other);
            other.with_param("x", None).without_headers();
        }
    }
}

fn any_uri() -> impl Strategy<Value = Uri> {
    let user = proptest::option::of("[a-zA-Z0-9._+;?/&=$,-]{1,12}(:[a-z0-9]{0,6})?@");
    let host = prop_oneof![
        "[a-z][a-z0-9]{0,8}(\\.[a-z]{2,5}){0,2}",
        any::<std::net::Ipv4Addr>().prop_map(|ip| ip.to_string()),
        any::<std::net::Ipv6Addr>().prop_map(|ip| format!("[{ip}]")),
    ];
    let port = proptest::option::of(any::<u16>());
    let tail = "(;[a-z]{1,6}(=[a-zA-Z0-9%41:]{0,0}[a-z0-9.]{1,6})?){0,4}(\\?[a-z]{1,5}=[a-z0-9]{0,5}(&[a-z]{1,4}=[a-z]{0,3}){0,2})?";
    ("sips?", user, host, port, tail).prop_map(|(scheme, user, host, port, tail)| {
        let port = port.map_or(String::new(), |port| format!(":{port}"));
        Uri::parse(format!("{scheme}:{}{host}{port}{tail}", user.unwrap_or_default())).unwrap()
    })
}
