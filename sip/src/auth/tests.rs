//! The vectors of RFC 7616 and RFC 2617, and what a challenge or an answer may not do.

use proptest::prelude::*;

use super::*;
use crate::message::Method;

const HTTP_GET: Method<'static> = Method::Extension("GET");

fn mufasa(password: &str) -> Credentials {
    Credentials { username: "Mufasa".into(), password: password.into() }
}

/// RFC 7616 §3.9.1: the same request under two algorithms.
#[test]
fn the_vectors_of_rfc_7616_are_met() {
    for (algorithm, response) in [
        ("MD5", "8ca523f5e9506fed4657c9700eebdbec"),
        ("SHA-256", "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1"),
    ] {
        let challenge = Challenge::parse(format!(
            "Digest realm=\"http-auth@example.org\", qop=\"auth, auth-int\", algorithm={algorithm}, \
             nonce=\"7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v\", opaque=\"FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS\""
        ))
        .unwrap();

        let answer = challenge.respond(
            &mufasa("Circle of Life"),
            HTTP_GET,
            "/dir/index.html",
            b"",
            "f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ",
            1,
        );

        assert_eq!(answer.response, response);
        assert_eq!((answer.qop, answer.nonce_count.as_deref()), (Some(Qop::Auth), Some("00000001")));
    }
}

/// The request of RFC 7616 §3.9.2 with its user name in the clear; the response is OpenSSL's.
#[test]
fn sha_512_256_is_not_a_cut_off_sha_512() {
    let challenge = Challenge::parse(
        "Digest realm=\"api@example.org\", qop=\"auth\", algorithm=SHA-512-256, \
         nonce=\"5TsQWLVdgBdmrQ0XsxbDODV+57QdFR34I9HAbC/RVvkK\", opaque=\"HRPCssKJSGjCrkzDg8OhwpzCiGPChXYjwrI2QmXDnsOS\"",
    )
    .unwrap();
    let credentials =
        Credentials { username: "J\u{e4}s\u{f8}n Doe".into(), password: "Secret, or not?".into() };
    let cnonce = "NTg6RKcb9boFIAS3KrFK9BGeh+niz/sm";

    let answer = challenge.respond(&credentials, HTTP_GET, "/doe.json", b"", cnonce, 1);

    assert_eq!(answer.response, "7a4e1192babbba02e91182d2895bfdbf7adafc6e48d4e517ca301974843d840c");
}

/// RFC 2617 §3.5.
#[test]
fn a_challenge_without_algorithm_is_md5() {
    let challenge = Challenge::parse(
        "Digest realm=\"testrealm@host.com\",\r\n qop=\"auth,auth-int\",nonce=\"dcd98b7102dd2f0e8b11d0f600bfb0c093\",\
         opaque=\"5ccc069c403ebaf9f0171e9517f40e41\"",
    )
    .unwrap();

    let answer =
        challenge.respond(&mufasa("Circle Of Life"), HTTP_GET, "/dir/index.html", b"", "0a4f113b", 1);

    assert_eq!(answer.response, "6629fae49393a05397450978507c4ef1");
}

#[test]
fn what_is_answered_can_be_verified_and_nothing_else_can() {
    let credentials = Credentials { username: "tr\"unk\\1".into(), password: "pa:ss".into() };
    let uri = "sip:+15550100222@edge.example.net";
    for algorithm in ["MD5", "MD5-sess", "SHA-256", "sha-256-sess", "SHA-512-256", "SHA-512-256-sess"] {
        for qop in ["", ", qop=\"auth\"", ", qop=\"auth-int\"", ", qop=\"auth-int,auth\""] {
            let text = format!("Digest realm=\"a \\\"b\\\"\", nonce=\"n=\", algorithm={algorithm}{qop}");
            let challenge = Challenge::parse(text).unwrap();
            let answer = challenge.respond(&credentials, Method::Invite, uri, b"body", "cn", 17);
            let read = Authorization::parse(answer.to_string()).unwrap();

            assert_eq!(read, answer);
            assert!(read.verify(&credentials, Method::Invite, b"body"), "{algorithm}{qop}");
            assert!(!read.verify(&credentials, Method::Bye, b"body"));
            let other = Credentials { password: "pass".into(), ..credentials.clone() };
            assert!(!read.verify(&other, Method::Invite, b"body"));
            let other = Credentials { username: "trunk1".into(), ..credentials.clone() };
            assert!(!read.verify(&other, Method::Invite, b"body"));
            let body_counts = qop == ", qop=\"auth-int\"";
            assert_eq!(read.verify(&credentials, Method::Invite, b"other"), !body_counts);
            assert_eq!(read.count(), (!qop.is_empty()).then_some(17));
        }
    }
}

/// RFC 8760 §2.4.
#[test]
fn of_several_challenges_the_strongest_is_answered_and_unknown_ones_are_not() {
    let challenges = [
        "Digest realm=\"r\", nonce=\"0\"",
        "Digest realm=\"r\", nonce=\"1\", algorithm=SHA-256",
        "Digest realm=\"r\", nonce=\"2\", algorithm=SHA-256",
        "Digest realm=\"r\", nonce=\"3\", algorithm=SHA-4096",
        "Digest realm=\"r\", nonce=\"4\", algorithm=SHA-512-256, qop=\"auth-conf\"",
        "NoOneKnowsThisScheme opaque-data=here",
        "Basic realm=\"r\"",
    ];

    let read = challenges.iter().filter_map(|challenge| Challenge::parse(challenge).ok());

    assert_eq!(strongest(read).unwrap().nonce, "1");
    assert_eq!(strongest([]), None);
}

#[test]
fn what_is_no_digest_challenge_is_refused() {
    for bad in [
        "",
        "Digest",
        "Digest ",
        "Digest username",
        "Digest =\"x\",,,=",
        "Digest realm=\"r\"",
        "Digest nonce=\"n\"",
        "Digest realm=\"r\", nonce=\"n",
        "Digest realm=\"r\" nonce=\"n\"",
        "Digest realm=\"r\", nonce=\"n\", nonce=\"m\"",
        "Digestrealm=\"r\", nonce=\"n\"",
        "Digest realm=\"r\", nonce=\"n\", Digest realm=\"s\", nonce=\"m\"",
    ] {
        assert!(Challenge::parse(bad).is_err(), "{bad:?} was read");
        assert!(Authorization::parse(bad).is_err(), "{bad:?} was read");
    }
}

#[test]
fn an_answer_with_a_quality_needs_its_count_and_a_known_quality() {
    let answer = "Digest username=\"u\", realm=\"r\", nonce=\"n\", uri=\"sip:x\", response=\"0\"";

    assert!(Authorization::parse(answer).is_ok());
    assert!(Authorization::parse(format!("{answer}, qop=auth, nc=00000001, cnonce=\"c\"")).is_ok());
    for bad in
        ["qop=auth", "qop=auth, nc=00000001", "qop=auth-conf, nc=00000001, cnonce=\"c\"", "algorithm=MD6"]
    {
        assert!(Authorization::parse(format!("{answer}, {bad}")).is_err(), "{bad}");
    }
}

#[test]
fn a_challenge_of_ours_reads_back() {
    let challenge = Challenge {
        realm: "edge".into(),
        nonce: "n1".into(),
        opaque: Some("o".into()),
        algorithm: Algorithm::Sha256,
        qop: vec![Qop::Auth, Qop::AuthInt],
        stale: true,
    };

    assert_eq!(Challenge::parse(challenge.to_string()), Ok(challenge));
}

#[test]
fn a_password_is_never_shown() {
    let shown = format!("{:?}", mufasa("Circle of Life"));

    assert!(shown.contains("Mufasa") && !shown.contains("Circle"), "{shown}");
}

proptest! {
    /// A hostile realm cannot add a parameter to what we send, nor a line.
    #[test]
    fn nothing_of_a_challenge_breaks_out_of_its_quotes(text in any::<String>(), escaped in "([ -~]|\\\\.){0,20}") {
        for text in [text, escaped] {
            let challenge = Challenge {
                realm: text.clone(),
                nonce: text.clone(),
                opaque: Some(text.clone()),
                algorithm: Algorithm::Md5,
                qop: vec![Qop::Auth],
                stale: false,
            };
            let credentials = Credentials { username: text.clone(), password: text.clone() };
            let written = challenge.respond(&credentials, Method::Invite, &text, b"", &text, 1).to_string();
            let read = Authorization::parse(&written).unwrap();

            prop_assert!(!written.contains(['\r', '\n', '\0']));
            prop_assert_eq!((read.qop, read.count()), (Some(Qop::Auth), Some(1)));
            prop_assert!(Challenge::parse(challenge.to_string()).is_ok());
        }
    }
}
