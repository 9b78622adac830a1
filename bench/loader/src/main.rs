//! Fills the store of a bench with keys and with what happened to them, straight through the ledger: many keys to one commit, each with its
//! event, so that the log, the lists and the walk along what is due are what they would be had all of them been issued and claimed one by one.
//! Events beside them write no record: they fill log and lists. The store must not be in use.
//!
//! What was minted goes into a file of its own, a line of id and token each, for the load generator to draw from.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::PathBuf;

use anyhow::{Context, bail};
use clap::Parser;
use keyward_cli::Failure;
use keyward_cli::local::state::StateDir;
use keyward_cli::local::store::{Kv, LocalStore, RealClock, SystemRng};
use keyward_cli::progress::Progress;
use keyward_crypto::SecretText;
use keyward_domain::due::outlook;
use keyward_domain::event::{Action, Actor, ActorKind, Outcome, Source, Target};
use keyward_domain::key::{Environment, Key, Version};
use keyward_domain::policy::Terms;
use keyward_domain::ports::{Clock, NoSink, Rng};
use keyward_domain::scope::ScopeSet;
use keyward_domain::{ApplicationId, Error, KeyId, Result, Timestamp, token};
use keyward_ledger::{Draft, Ledger, Progress as Integrated};
use keyward_records::Rings;

/// Keys in one commit: a batch of some hundred kilobytes, well within the time that a commit may take.
const KEYS_AT_ONCE: usize = 1_000;
/// Batches of events that are integrated between two looks at how far it is.
const ROUNDS: u32 = 32;
/// What each key may do.
const SCOPES: [&str; 2] = ["bench:read", "bench:write"];
/// What happens to keys, in turn.
const KINDS: [(Action, Outcome); 6] = [
    (Action::ClaimTaken, Outcome::Done),
    (Action::KeyChanged, Outcome::Done),
    (Action::KeyLookedUp, Outcome::Done),
    (Action::KeyChanged, Outcome::Refused),
    (Action::KeyChanged, Outcome::Done),
    (Action::KeyRevoked, Outcome::Refused),
];
/// Keys of `keyward` that caused them.
const ADMINS: usize = 10;
/// The version that each key has.
const VERSION: u16 = 1;

#[derive(Parser)]
struct Options {
    /// The state directory, as `keyward init` makes it
    #[arg(long)]
    state_dir: PathBuf,
    /// Whose keys
    #[arg(long)]
    application: ApplicationId,
    /// How many
    #[arg(long)]
    keys: usize,
    /// Of these, how many are due for a successor at once, the last; the others are in the next three months
    #[arg(long, default_value_t = 0)]
    due: usize,
    /// How many events of several kinds come after them, about them
    #[arg(long, default_value_t = 0)]
    events: usize,
    /// The new file that ids and tokens are written into
    #[arg(long)]
    tokens: PathBuf,
}

/// A key, and the token of its one version.
struct Minted {
    key: Key,
    token: SecretText,
}

fn main() -> anyhow::Result<()> {
    let options = Options::parse();
    if options.due > options.keys {
        bail!("--due {} is more than --keys {}", options.due, options.keys);
    }
    if options.events > 0 && options.keys == 0 {
        bail!("--events are about keys: --keys 0 leaves nothing for them to be about");
    }
    let state = StateDir::new(&options.state_dir);
    let rings = state.rings().map_err(shown)?;
    let store = LocalStore::open_existing(None, &state).map_err(shown)?;
    let file = File::create_new(&options.tokens)
        .with_context(|| format!("cannot make {}", options.tokens.display()))?;
    let mut tokens = BufWriter::new(file);
    let loaded = store.run_on(async |kv| load(kv, &rings, &options, &mut tokens).await);
    loaded.map_err(|(_, failure)| shown(failure))?;
    Ok(tokens.flush()?)
}

fn shown(failure: Failure) -> anyhow::Error {
    anyhow::anyhow!("{}", failure.render(keyward_cli::terminal::Styles::OFF))
}

async fn load(kv: &Kv, rings: &Rings, options: &Options, tokens: &mut impl Write) -> Result<()> {
    let clock = RealClock::default();
    let ledger = Ledger::new(kv, rings, &clock, &SystemRng, &NoSink);
    let application = ledger.read().application(options.application).await?;
    let application = application.ok_or_else(|| Error::not_found("application"))?;
    let all = to_u64(options.keys);
    let mut keys: Vec<Key> = Vec::new();
    let mut progress = Progress::new("Loading");
    for first in (0..options.keys).step_by(KEYS_AT_ONCE) {
        let numbers = first..options.keys.min(first + KEYS_AT_ONCE);
        let minted: Vec<Minted> = numbers
            .map(|number| mint(rings, &clock, application.id, application.generation, number, options))
            .collect::<Result<_>>()?;
        let drafts = minted.iter().map(|minted| draft(&minted.key, clock.now())).collect();
        ledger
            .commit(drafts, |tickets, writes| {
                for (index, minted) in minted.iter().enumerate() {
                    let key = Key { event: tickets.event(index), ..minted.key.clone() };
                    writes.for_event(index).new_key(&key);
                }
                Ok(())
            })
            .await?;
        for minted in &minted {
            writeln!(tokens, "{} {}", minted.key.id, minted.token.expose())
                .map_err(|_| Error::internal("the file of tokens cannot be written"))?;
        }
        if options.events > 0 {
            keys.extend(minted.into_iter().map(|minted| minted.key));
        }
        progress.at(to_u64(first), all);
    }
    let actors: Vec<KeyId> = (0..ADMINS).map(|_| KeyId::from_bytes(SystemRng.bytes())).collect();
    let mut progress = Progress::new("Adding events");
    for first in (0..options.events).step_by(KEYS_AT_ONCE) {
        let numbers = first..options.events.min(first + KEYS_AT_ONCE);
        let drafts = numbers.filter_map(|number| happened(number, &keys, &actors, clock.now())).collect();
        ledger.commit(drafts, |_, _| Ok(())).await?;
        progress.at(to_u64(first), to_u64(options.events));
    }
    let mut progress = Progress::new("Integrating");
    loop {
        let Integrated { size, taken } = ledger.integrate(ROUNDS).await?;
        progress.at(size, taken);
        if size >= taken {
            return Ok(());
        }
    }
}

/// One of the events that come after the keys: of each kind in turn, about each key in turn. What changes a key says how it stands after that, as
/// real ones do.
fn happened(number: usize, keys: &[Key], actors: &[KeyId], now: Timestamp) -> Option<Draft> {
    let (action, outcome) = *KINDS.get(number % KINDS.len())?;
    // Another step than that of the kinds, or each key would have events of one kind.
    let key = keys.get((number / KINDS.len() + number) % keys.len().max(1))?;
    let actor = actors.get(number % actors.len().max(1)).copied();
    let changes = outcome == Outcome::Done && action != Action::KeyLookedUp;
    Some(Draft {
        action,
        outcome,
        actor: Actor { kind: ActorKind::Admin, key: actor, principal: Some("bench@example.com".to_owned()) },
        source: Source { client_addr: Some("192.0.2.7".to_owned()), user_agent: Some("bench".to_owned()) },
        reason: (outcome == Outcome::Refused).then(|| "insufficient-scope".to_owned()),
        detail: if changes { outlook(key, &Terms::DEFAULT, now).collect() } else { Vec::new() },
        ..draft(key, now)
    })
}

/// A key with one version, claimed so long ago that it is due when it is meant to be.
fn mint(
    rings: &Rings,
    clock: &RealClock,
    application: ApplicationId,
    generation: u32,
    number: usize,
    options: &Options,
) -> Result<Minted> {
    let id = KeyId::from_bytes(SystemRng.bytes());
    let secret = SystemRng.bytes();
    let token = SecretText::new(token::render("kw", Environment::Live, id.as_bytes(), VERSION, &secret));
    let pepper = rings.peppers.active();
    let mac = rings
        .peppers
        .mac(pepper, token.expose().as_bytes())
        .map_err(|_| Error::internal("the active pepper is not in its ring"))?;
    let claimed_at = claimed_at(clock.now(), number, options);
    let scopes = ScopeSet::parse("scopes", &SCOPES.map(str::to_owned))?;
    let key = Key {
        generation,
        name: format!("bench {number}"),
        scopes,
        versions: vec![Version { number: VERSION, pepper, mac, claimed_at }],
        ..Key::new(id, application, claimed_at)
    };
    Ok(Minted { key, token })
}

/// The last keys are due now. The others are so at even distances from tomorrow on, which is as thin as real ones are spread.
fn claimed_at(now: Timestamp, number: usize, options: &Options) -> Timestamp {
    const DAY_S: i64 = 24 * 3600;
    let interval_s = Terms::DEFAULT.rotate_every_s.map_or(0, i64::from);
    let others = options.keys - options.due;
    if number >= others {
        return now.plus_s(-interval_s);
    }
    let spread_s = (interval_s - DAY_S) * to_i64(number) / to_i64(others);
    now.plus_s(DAY_S - interval_s + spread_s)
}

fn draft(key: &Key, now: Timestamp) -> Draft {
    Draft {
        action: Action::KeyIssued,
        outcome: Outcome::Done,
        target: Target { application: Some(key.application), ..Target::key(Some(key.id)) },
        actor: Actor { kind: ActorKind::System, key: None, principal: None },
        source: Source::default(),
        request: None,
        reason: None,
        detail: outlook(key, &Terms::DEFAULT, now).collect(),
        previous: None,
    }
}

fn to_u64(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}

fn to_i64(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
