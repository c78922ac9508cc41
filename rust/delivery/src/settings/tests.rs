//! What is read, what is refused, and which limits win.

use super::*;

#[test]
fn an_empty_object_is_all_defaults() {
    let settings = Settings::from_json("{}").expect("defaults are valid");
    assert_eq!(settings.limits("example.com", None), MX_DEFAULT);
    assert_eq!(settings.limits("google", Some("google")).connections, 5);
}

#[test]
fn special_limits_win_over_general_ones() {
    let json = r#"{"connections": 3, "rate": "5/s",
        "sites": {"google": {"rate": "1/m", "per_connection": 7}}}"#;
    let settings = Settings::from_json(json).expect("valid");
    let google = settings.limits("google", Some("google"));
    assert_eq!((google.connections, google.per_connection), (3, 7));
    assert!(google.chunking && settings.limits("other", None).chunking);
    assert_eq!(google.rate.to_string(), "1/m");
    assert_eq!(settings.limits("other", None).rate.to_string(), "5/s");
}

#[test]
fn chunking_is_switched_off_where_it_is_said() {
    let json = r#"{"chunking": false, "sites": {"google": {"chunking": true}}}"#;
    let settings = Settings::from_json(json).expect("valid");
    assert!(settings.limits("google", Some("google")).chunking);
    assert!(!settings.limits("other", None).chunking);
}

#[test]
fn a_password_is_not_shown() {
    let json = r#"{"smart_host": "a:1", "smart_host_user": "u", "smart_host_password": "hush"}"#;
    let settings = Settings::from_json(json).expect("valid");
    assert!(!format!("{settings:?}{:?}", settings.login()).contains("hush"));
}

#[test]
fn a_smart_host_has_its_own_defaults() {
    let settings = Settings::from_json(r#"{"smart_host": "[::1]:1025"}"#).expect("valid");
    assert_eq!(settings.smart_host_address(), Some(("::1", 1025)));
    assert_eq!(
        settings.limits("google", Some("google")),
        SMART_HOST_DEFAULT
    );
}

#[test]
fn what_is_wrong_is_named() {
    for (json, key) in [
        (r#"{"smart_host": "localhost"}"#, "smart_host"),
        (r#"{"rate": "fast"}"#, "rate"),
        (r#"{"sites": {"x": {"rate": "0/s"}}}"#, "sites.x.rate"),
        (r#"{"sites": {"x": {"tls": "no"}}}"#, "sites.x.tls"),
        (r#"{"ehlo": "a b"}"#, "ehlo"),
        (r#"{"sites": {"x": {"tls": "never"}}}"#, "sites.x.tls"),
        (r#"{"tls": "never"}"#, "never"),
        (r#"{"dnssec": "yes"}"#, "dnssec"),
        (r#"{"max_in_flight": 0}"#, "max_in_flight"),
        (
            r#"{"smart_host": "a:1", "smart_host_user": "x"}"#,
            "smart_host_password",
        ),
        (
            r#"{"smart_host_user": "x", "smart_host_password": "y"}"#,
            "smart_host_password",
        ),
        (r#"{"speed": 1}"#, "speed"),
    ] {
        let error = Settings::from_json(json).expect_err(json).to_string();
        assert!(error.contains(key), "{error}");
    }
}
