//! A store in Redis or Valkey, over one multiplexed connection that mends itself. Counters are Redis integers
//! (ASCII), as in Spin.

use std::time::Duration;

use redis::aio::{ConnectionManager, ConnectionManagerConfig};
use redis::{Client, RedisError, Value};

use super::{Change, Followers, Found, Pair, Result, StoreError};

/// How long to try to connect before a call fails.
const CONNECT_TIME_MAX: Duration = Duration::from_secs(2);

/// Compare and swap in one step on the server: `ARGV[1]` says whether a value is expected at all.
const SWAP: &str = "local v = redis.call('GET', KEYS[1])
if (ARGV[1] == '0' and v == false) or (ARGV[1] == '1' and v == ARGV[2]) then
  redis.call('SET', KEYS[1], ARGV[3])
  return 1
end
return 0";

pub(crate) struct Redis {
    label: String,
    connection: ConnectionManager,
    followers: Followers,
}

impl From<RedisError> for StoreError {
    fn from(error: RedisError) -> Self {
        // Neither the address nor what the server said, which may quote arguments.
        let kind = if error.is_timeout() {
            "no answer in time; whether the call took effect is not known"
        } else if error.is_connection_refusal() {
            "connection refused"
        } else if error.is_io_error() {
            "the connection broke; whether the call took effect is not known"
        } else {
            return Self(format!("redis: {}", error.code().unwrap_or("the server refused the call")));
        };
        Self(format!("redis: {kind}"))
    }
}

impl Redis {
    /// Connects at the first call. `time_max` bounds each call.
    pub(crate) fn new(label: &str, url: &str, time_max: Duration) -> std::result::Result<Self, String> {
        // The URL may hold a password: it is in no message.
        let client = Client::open(url).map_err(|_| {
            "`url` is no Redis URL of the form redis://[user:password@]host:port[/db]".to_owned()
        })?;
        let config = ConnectionManagerConfig::new()
            .set_number_of_retries(1)
            .set_min_delay(Duration::from_millis(50))
            .set_max_delay(Duration::from_millis(200))
            .set_connection_timeout(Some(CONNECT_TIME_MAX))
            .set_response_timeout(Some(time_max));
        let connection = ConnectionManager::new_lazy_with_config(client, config)
            .map_err(|_| "no connection could be prepared".to_owned())?;
        Ok(Self { label: label.to_owned(), connection, followers: Followers::default() })
    }

    pub(crate) fn followers(&self) -> &Followers {
        &self.followers
    }

    /// In a task of its own: the connection has a queue of bounded length, and a call holds a place in it until it is polled. An
    /// instance that waits in a call of the synchronous interface polls none of its others; those would keep everybody out.
    async fn query<T: redis::FromRedisValue + Send + 'static>(&self, command: redis::Cmd) -> Result<T> {
        let mut connection = self.connection.clone();
        let call = tokio::spawn(async move { command.query_async::<T>(&mut connection).await });
        let outcome = call.await.map_err(|_| StoreError::new("redis: the call was broken off"))?;
        Ok(outcome?)
    }

    fn tell(&self, changes: impl FnOnce() -> Vec<Change>) {
        if !self.followers.is_empty() {
            self.followers.tell(&self.label, &changes());
        }
    }

    pub(crate) async fn get(&self, key: &str) -> Result<Option<Vec<u8>>> {
        self.query(command("GET", &[key])).await
    }

    pub(crate) async fn exists(&self, key: &str) -> Result<bool> {
        self.query(command("EXISTS", &[key])).await
    }

    /// Redis has no order: the cursor is that of SCAN, and a page may repeat a key or be empty.
    pub(crate) async fn keys(
        &self,
        prefix: &str,
        after: Option<&str>,
    ) -> Result<(Vec<String>, Option<String>)> {
        let mut pattern = String::new();
        for c in prefix.chars() {
            if matches!(c, '*' | '?' | '[' | ']' | '\\' | '^') {
                pattern.push('\\');
            }
            pattern.push(c);
        }
        pattern.push('*');
        let mut scan = redis::cmd("SCAN");
        scan.arg(after.unwrap_or("0")).arg("MATCH").arg(pattern).arg("COUNT").arg(super::PAGE_KEYS);
        let (cursor, keys): (String, Vec<String>) = self.query(scan).await?;
        Ok((keys, (cursor != "0").then_some(cursor)))
    }

    pub(crate) async fn get_many(&self, keys: &[String]) -> Result<Vec<Found>> {
        if keys.is_empty() {
            return Ok(Vec::new());
        }
        let values: Vec<Option<Vec<u8>>> = self.query(command("MGET", keys)).await?;
        Ok(keys.iter().cloned().zip(values).collect())
    }

    pub(crate) async fn set_many(&self, pairs: Vec<Pair>) -> Result<()> {
        if pairs.is_empty() {
            return Ok(());
        }
        let mut mset = redis::cmd("MSET");
        for (key, value) in &pairs {
            mset.arg(key).arg(value);
        }
        self.query::<Value>(mset).await?;
        self.tell(|| pairs.into_iter().map(|(key, value)| Change { key, value: Some(value) }).collect());
        Ok(())
    }

    pub(crate) async fn delete_many(&self, keys: Vec<String>) -> Result<()> {
        if keys.is_empty() {
            return Ok(());
        }
        self.query::<Value>(command("DEL", &keys)).await?;
        self.tell(|| keys.into_iter().map(|key| Change { key, value: None }).collect());
        Ok(())
    }

    pub(crate) async fn increment(&self, key: &str, delta: i64) -> Result<i64> {
        let mut add = command("INCRBY", &[key]);
        add.arg(delta);
        let sum: i64 = self.query(add).await?;
        self.tell(|| vec![Change { key: key.to_owned(), value: Some(sum.to_string().into_bytes()) }]);
        Ok(sum)
    }

    pub(crate) async fn swap(&self, key: &str, old: Option<Vec<u8>>, new: Vec<u8>) -> Result<bool> {
        let mut eval = redis::cmd("EVAL");
        eval.arg(SWAP).arg(1).arg(key).arg(i32::from(old.is_some())).arg(old.unwrap_or_default()).arg(&new);
        let swapped: bool = self.query(eval).await?;
        if swapped {
            self.tell(|| vec![Change { key: key.to_owned(), value: Some(new) }]);
        }
        Ok(swapped)
    }
}

fn command(name: &str, keys: &[impl redis::ToRedisArgs]) -> redis::Cmd {
    let mut command = redis::cmd(name);
    command.arg(keys);
    command
}
