//! Faults on the wire: one of each kind, lost and landed.

use akv_archiver::emulator::faults::{Action, Rewrite, Rule, Status, When};
use akv_archiver::emulator::seed::Limits;

use super::*;

/// Strikes the next attempt to set the secret.
fn strike(azure: &Azure, action: Action) {
    azure.emulator.fault(Rule::new(action).host("prod.vault.azure.net").method("PUT")).unwrap();
}

async fn exists(azure: &Azure, token: &str) -> bool {
    azure.get(SECRET, token).await.0 == 200
}

#[tokio::test]
async fn a_status_is_lost_or_landed() {
    let status = |when| {
        Action::Status(Status { code: 503, headers: [("retry-after".into(), "7".into())].into(), body: None, when })
    };
    for (when, effect) in [(When::Before, false), (When::After, true)] {
        let azure = Azure::start();
        let token = azure.token(VAULT).await;
        strike(&azure, status(when));
        let response = azure.put_secret(&token).send().await.unwrap();
        assert_eq!((response.status().as_u16(), response.headers()["retry-after"].as_bytes()), (503, b"7".as_slice()));
        assert_eq!(exists(&azure, &token).await, effect, "{when:?}");
        assert_eq!(azure.put_secret(&token).send().await.unwrap().status(), 200, "a fault strikes once");
    }
}

#[tokio::test]
async fn a_reset_leaves_no_answer_and_the_log_tells() {
    for (when, effect) in [(When::Before, false), (When::After, true)] {
        let azure = Azure::start();
        let token = azure.token(VAULT).await;
        strike(&azure, Action::Reset(when));
        let error = azure.put_secret(&token).send().await.unwrap_err();
        assert!(error.is_request(), "{error:?}");
        assert_eq!(exists(&azure, &token).await, effect, "{when:?}");
        let log = azure.emulator.requests();
        let struck = log.iter().find(|entry| entry.method == "PUT").unwrap();
        assert_eq!((struck.status, struck.fault, struck.caller.as_deref()), (None, Some(1), Some("default")));
        assert_eq!(log.last().unwrap().status, Some(if effect { 200 } else { 404 }));
    }
}

#[tokio::test]
async fn a_stall_lasts_until_the_faults_are_cleared() {
    for (when, effect) in [(When::Before, false), (When::After, true)] {
        let azure = Azure::start();
        let token = azure.token(VAULT).await;
        strike(&azure, Action::Stall(when));
        let stalled = tokio::spawn(azure.put_secret(&token).send());
        until(|| azure.emulator.requests().iter().any(|entry| entry.fault.is_some())).await;
        // Landed may take another moment, lost never does.
        soon(async { while exists(&azure, &token).await != effect {} }).await;
        assert!(!stalled.is_finished());
        azure.emulator.clear_faults();
        assert_eq!(soon(stalled).await.unwrap().unwrap().status(), 200);
        assert!(exists(&azure, &token).await);
    }
}

#[tokio::test]
async fn answers_are_spoilt_after_the_effect() {
    for rewrite in [
        Rewrite::Html,
        Rewrite::Truncate,
        Rewrite::Cut,
        Rewrite::ContentType,
        Rewrite::Empty,
        Rewrite::Body("other".into()),
        Rewrite::Replace { from: "\"v\"".into(), to: "\"w\"".into() },
        Rewrite::Pad(1 << 20),
        Rewrite::Header { name: "date".into(), value: None },
    ] {
        let azure = Azure::start();
        let token = azure.token(VAULT).await;
        strike(&azure, Action::Rewrite(rewrite.clone()));
        let response = azure.put_secret(&token).send().await.unwrap();
        assert_eq!(response.status(), 200);
        let content_type = response.headers()["content-type"].to_str().unwrap().to_owned();
        let (length, dated) = (response.content_length(), response.headers().contains_key("date"));
        let text = response.text().await;
        match &rewrite {
            Rewrite::Html => assert!(content_type.starts_with("text/html") && text.unwrap().contains("Runtime Error")),
            Rewrite::Truncate => assert!(serde_json::from_str::<Value>(&text.unwrap()).is_err()),
            Rewrite::Cut => assert!(length > Some(0) && text.is_err()),
            Rewrite::ContentType => {
                assert!(content_type == "application/octet-stream" && text.unwrap().contains("\"v\""))
            }
            Rewrite::Empty => assert_eq!(text.unwrap(), ""),
            Rewrite::Body(other) => assert_eq!(text.unwrap(), *other),
            Rewrite::Replace { to, .. } => assert!(text.unwrap().contains(to)),
            Rewrite::Pad(spaces) => assert_eq!(text.unwrap().find('{'), Some(*spaces)),
            Rewrite::Header { .. } => assert!(!dated && text.is_ok()),
        }
        assert!(exists(&azure, &token).await, "{rewrite:?}");
    }
}

#[tokio::test]
async fn delays_and_latency_are_real_time() {
    let azure = Azure::start();
    let token = azure.token(VAULT).await;
    azure.emulator.set_limits(Limits { latency_ms: 30, ..Limits::default() });
    strike(&azure, Action::DelayMs(50));
    let start = std::time::Instant::now();
    assert_eq!(azure.put_secret(&token).send().await.unwrap().status(), 200);
    assert!(start.elapsed().as_millis() >= 80);
}

#[tokio::test]
async fn limits_are_enforced_on_the_emulators_clock() {
    let azure = Azure::start();
    let token = azure.token(VAULT).await;
    azure.emulator.set_limits(Limits { enforce: true, ..Limits::default() });
    let mut taken = 0;
    let (mut refused, mut body);
    loop {
        (refused, body) = answer(azure.put_secret(&token)).await;
        if refused != 200 {
            break;
        }
        taken += 1;
    }
    // Setting secrets is limited to 300 in 10 s; a slow machine may have got more through in a longer time.
    assert!(taken >= 300, "{taken}");
    assert_eq!((refused, &body["error"]["code"]), (429, &json!("Throttled")));
    azure.emulator.advance(Duration::from_secs(10));
    assert_eq!(answer(azure.put_secret(&token)).await.0, 200);
}
