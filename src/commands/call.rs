//! `callingedge call`: places a call over a running edge and tells what becomes of it.

use clap::Args;
use serde_json::{Map, Value, json};

use super::client::{Client, ClientError};
use super::{Outcome, Running, print, small_runtime};

/// Whom to call, and how.
#[derive(Debug, Args)]
pub(super) struct Options {
    #[command(flatten)]
    edge: Running,
    /// E.164, a SIP URI, or what the provider dials.
    to: String,
    /// Over which provider; not needed where there is one that places calls.
    #[arg(long)]
    provider: Option<String>,
    /// Which engine talks.
    #[arg(long)]
    engine: Option<String>,
    /// The calling number.
    #[arg(long)]
    from: Option<String>,
    /// ai_only or ai_first.
    #[arg(long)]
    mode: Option<String>,
    /// Print every event as one line of JSON.
    #[arg(long)]
    json: bool,
}

/// Fails when the call was never answered.
pub(super) fn run(options: &Options) -> Outcome {
    small_runtime()?.block_on(place(options))
}

async fn place(options: &Options) -> Outcome {
    let client = Client::new(&options.edge)?;
    let provider = match &options.provider {
        Some(provider) => provider.clone(),
        None => only_provider(&client).await?,
    };
    // Listened first, so that nothing is missed.
    let mut events = client.stream("/api/events").await?;
    let mut body = Map::from_iter([("to".to_owned(), json!(options.to))]);
    for (name, value) in [("from", &options.from), ("engine", &options.engine), ("mode", &options.mode)] {
        if let Some(value) = value {
            body.insert(name.to_owned(), json!(value));
        }
    }
    let placed = client.post(&format!("/api/integrations/providers/{provider}/calls"), &body.into()).await?;
    let call = placed["call_id"].as_str().unwrap_or_default().to_owned();
    if !options.json {
        print(&format!("{call} over {provider} to {}\n", options.to))?;
    }
    while let Some(event) = events.next().await? {
        if event["call_id"] != call {
            continue;
        }
        print(&if options.json { format!("{event}\n") } else { told(&event) })?;
        if let Some(reason) = event["edge"]["end_reason"].as_str() {
            return if event["kind"] == "ended" {
                Ok(())
            } else {
                Err(format!("the call was never answered: {reason}").into())
            };
        }
    }
    Err(format!("the edge stopped telling; `callingedge explain {call}` says how the call went").into())
}

async fn only_provider(client: &Client) -> Result<String, Box<dyn std::error::Error + Send + Sync>> {
    let listed = client.get("/api/integrations/providers").await?;
    let providers = listed["providers"].as_array().ok_or(ClientError::Strange("no providers".to_owned()))?;
    let outbound = providers.iter().filter(|provider| provider["capabilities"]["outbound"] == true);
    let keys: Vec<&str> = outbound.filter_map(|provider| provider["key"].as_str()).collect();
    match keys[..] {
        [only] => Ok(only.to_owned()),
        [] => Err("no provider of this tenant places calls; give one a `target` in the configuration".into()),
        _ => Err(format!("say over which provider: --provider {}", keys.join(" or ")).into()),
    }
}

/// `12:31:04.120  answered           duration, reason`.
fn told(event: &Value) -> String {
    let clock = event["occurred_at"].as_str().unwrap_or_default();
    let clock = clock.split_once('T').map_or(clock, |(_, time)| time.trim_end_matches('Z'));
    let kind = event["kind"].as_str().unwrap_or_default();
    let mut parts = Vec::new();
    if let Some(reason) = event["edge"]["end_reason"].as_str() {
        parts.push(reason.to_owned());
    }
    if let Some(seconds) = event["duration_sec"].as_u64().filter(|_| !parts.is_empty()) {
        parts.push(format!("{seconds} s"));
    }
    format!("{clock:<14}{kind:<18}{}", parts.join(", ")).trim_end().to_owned() + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_told_in_one_line() {
        let answered = json!({"occurred_at": "2026-05-20T17:31:04.12Z", "kind": "answered", "duration_sec": 0,
            "edge": {"end_reason": null}});
        let ended = json!({"occurred_at": "2026-05-20T17:31:36Z", "kind": "ended", "duration_sec": 32,
            "edge": {"end_reason": "remote_hung_up"}});

        assert_eq!(told(&answered), "17:31:04.12   answered\n");
        assert_eq!(told(&ended), "17:31:36      ended             remote_hung_up, 32 s\n");
    }
}
