//! `callingedge token`: the tokens of the API. Works on the store's file, also while the edge runs.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::{ConfigFile, Outcome, print};
use crate::call::TenantId;
use crate::config::Config;
use crate::spelling::nearest;
use crate::store::{NotAScope, Scope, TokenRow, Tokens};

/// What to do with them.
#[derive(Debug, Args)]
pub(super) struct Options {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Makes a token and prints it, this once.
    Create {
        #[command(flatten)]
        config: ConfigFile,
        /// Whose calls it is for.
        #[arg(long)]
        tenant: String,
        /// What it allows: calls:read, calls:write, events:read or admin. May be given again.
        #[arg(long = "scope", required = true, value_parser = scope)]
        scopes: Vec<Scope>,
        /// What it is for, in your words.
        #[arg(long, default_value = "")]
        name: String,
    },
    /// Lists all tokens, without their secrets.
    List(ConfigFile),
    /// Refuses a token from now on.
    Revoke {
        #[command(flatten)]
        config: ConfigFile,
        /// The id, as `list` shows it.
        id: String,
    },
}

/// Does it.
pub(super) fn run(options: &Options) -> Outcome {
    match &options.action {
        Action::Create { config, tenant, scopes, name } => {
            let config = Config::load_offline(&config.path)?;
            let tenant = known_tenant(&config, tenant)?;
            let token = Tokens::open(&config.store.path)?.create(&tenant, name, scopes)?;
            print(&format!("{token}\n"))
        }
        Action::List(config) => {
            let rows = Tokens::open(&store(config)?)?.list()?;
            print(&table(&rows))
        }
        Action::Revoke { config, id } => {
            // The whole token is what people have at hand; its id is the middle part.
            let id = id.strip_prefix("ce_").and_then(|rest| rest.split('_').next()).unwrap_or(id);
            if Tokens::open(&store(config)?)?.revoke(id)? {
                print(&format!("{id} is refused from now on\n"))
            } else {
                Err(format!("there is no valid token {id}; `callingedge token list` shows all").into())
            }
        }
    }
}

fn store(config: &ConfigFile) -> Result<PathBuf, Box<dyn std::error::Error + Send + Sync>> {
    Ok(Config::load_offline(&config.path)?.store.path)
}

fn scope(text: &str) -> Result<Scope, NotAScope> {
    text.parse()
}

fn known_tenant(config: &Config, written: &str) -> Result<TenantId, String> {
    let tenants = &config.settings.tenants;
    if tenants.contains_key(written) {
        return Ok(TenantId::from(written));
    }
    Err(match nearest(written, tenants.keys().map(TenantId::as_str)) {
        Some(nearest) => format!("there is no tenant `{written}`; did you mean `{nearest}`?"),
        None => format!("there is no tenant `{written}`; add [tenants.{written}] to the configuration"),
    })
}

fn table(rows: &[TokenRow]) -> String {
    let mut text = format!("{:<18}{:<16}{:<34}{:<28}{:<10}NAME\n", "ID", "TENANT", "SCOPES", "MADE", "STATE");
    for row in rows {
        let scopes: Vec<&str> = row.scopes.iter().map(|scope| scope.as_str()).collect();
        let state = if row.revoked_at.is_some() { "revoked" } else { "valid" };
        text.push_str(&format!(
            "{:<18}{:<16}{:<34}{:<28}{state:<10}{}\n",
            row.id,
            row.tenant.as_str(),
            scopes.join(","),
            row.created_at.to_string(),
            row.name
        ));
    }
    text
}
