//! Zart itself: an execution of three steps that do nothing, on its crate of PostgreSQL.
//!
//! A worker sleeps before each look at its queue and takes at most so many tasks a look: both are
//! set far below and above what it comes with, or they would be all that is measured. So is how
//! often its client looks whether an execution has ended, half a second where nothing is said.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use sqlx::PgPool;
use sqlx::postgres::PgPoolOptions;
use tokio::task::JoinSet;
use zart::prelude::*;
use zart::{PgBackend, Worker};

type Failure = Box<dyn std::error::Error + Send + Sync>;

const TASK: &str = "noop3";
const CONNECTIONS: u32 = 32;
const CALLERS: usize = 16;
const AT_ONCE: usize = 64;
const LOOK: Duration = Duration::from_millis(1);
const LONG: Duration = Duration::from_secs(110);
const DONE: &str = "SELECT count(*) FROM zart_execution_runs WHERE status = 'completed'";
const STEPS: &str = "SELECT count(*), \
     extract(epoch FROM max(completed_at) - min(completed_at))::float8 FROM zart_steps \
     WHERE status = 'completed'";

/// No step fails.
#[derive(Debug, serde::Serialize, serde::Deserialize)]
enum Never {}

impl std::fmt::Display for Never {
    fn fmt(&self, _: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match *self {}
    }
}

impl std::error::Error for Never {}

struct Noop(i32);

#[async_trait::async_trait]
impl ZartStep for Noop {
    type Output = i32;
    type Error = Never;

    fn step_name(&self) -> Cow<'static, str> {
        Cow::Owned(format!("step-{}", self.0))
    }

    async fn run(&self) -> Result<i32, Never> {
        Ok(self.0)
    }
}

struct Noop3;

#[async_trait::async_trait]
impl DurableExecution for Noop3 {
    type Data = Value;
    type Output = i32;

    async fn run(&self, _data: Value) -> Result<i32, TaskError> {
        zart::require(Noop(1)).await?;
        zart::require(Noop(2)).await?;
        zart::require(Noop(3)).await
    }
}

/// A database with Zart's tables.
struct Zart {
    pool: PgPool,
    backend: PgBackend,
    scheduler: Arc<DurableScheduler>,
}

impl Zart {
    async fn at(url: &str) -> Result<Zart, Failure> {
        let pool = PgPoolOptions::new().max_connections(CONNECTIONS).connect(url).await?;
        let backend = PgBackend::new(pool.clone());
        backend.run_migrations().await?;
        let scheduler = Arc::new(DurableScheduler::from_backend(&backend));
        Ok(Zart { pool, backend, scheduler })
    }

    fn working(&self) -> Arc<Worker> {
        let config = WorkerConfig {
            poll_interval: LOOK,
            max_tasks_per_poll: AT_ONCE,
            max_concurrent_tasks: AT_ONCE,
            ..WorkerConfig::default()
        };
        let worker = Arc::new(
            WorkerBuilder::from_backend(&self.backend)
                .register_durable_task(TASK, Noop3)
                .config(config)
                .build(),
        );
        let running = worker.clone();
        tokio::spawn(async move { running.run().await });
        worker
    }

    async fn start(&self, number: usize) -> Result<String, Failure> {
        let id = format!("x-{number}");
        self.scheduler.start(&id, TASK, json!(number)).await?;
        Ok(id)
    }

    /// Start executions from sixteen callers at once; gives the seconds that it took.
    async fn started(self: &Arc<Self>, from: usize, count: usize) -> Result<f64, Failure> {
        let zart = self.clone();
        each(from..from + count, move |number| {
            let zart = zart.clone();
            async move { zart.start(number).await.map(drop) }
        })
        .await
    }

    async fn finished(&self, count: usize) -> Result<(), Failure> {
        let until = Instant::now() + LONG;
        while sqlx::query_scalar::<_, i64>(DONE).fetch_one(&self.pool).await? < count as i64 {
            if Instant::now() > until {
                return Err("it did not finish".into());
            }
            tokio::time::sleep(Duration::from_millis(100)).await; // to ask costs what is measured
        }
        Ok(())
    }
}

/// Do something with each of some numbers, sixteen at a time; gives the seconds that it took.
async fn each<F, D>(numbers: std::ops::Range<usize>, does: D) -> Result<f64, Failure>
where
    D: Fn(usize) -> F + Send + Sync + 'static,
    F: Future<Output = Result<(), Failure>> + Send,
{
    let (left, does) = (Arc::new(std::sync::Mutex::new(numbers)), Arc::new(does));
    let begun = Instant::now();
    let mut callers = JoinSet::new();
    for _ in 0..CALLERS {
        let (left, does) = (left.clone(), does.clone());
        callers.spawn(async move {
            loop {
                let next = left.lock().expect("no caller panics while it takes one").next();
                match next {
                    Some(number) => does(number).await?,
                    None => return Ok::<(), Failure>(()),
                }
            }
        });
    }
    while let Some(ended) = callers.join_next().await {
        ended??;
    }
    Ok(begun.elapsed().as_secs_f64())
}

async fn drain(zart: Arc<Zart>, count: usize) -> Result<Value, Failure> {
    zart.started(0, count).await?;
    zart.working();
    zart.finished(count).await?;
    let (steps, seconds): (i64, f64) = sqlx::query_as(STEPS).fetch_one(&zart.pool).await?;
    if steps != 3 * count as i64 {
        return Err(format!("{steps} steps of {count} executions").into());
    }
    Ok(json!({ "steps_per_second": steps as f64 / seconds }))
}

async fn latency(zart: Arc<Zart>, count: usize) -> Result<Value, Failure> {
    const WARM: usize = 20;
    zart.working();
    let mut found = Vec::new();
    for number in 0..WARM + count {
        tokio::time::sleep(Duration::from_millis(12)).await; // idle again
        let begun = Instant::now();
        let id = zart.start(number).await?;
        zart.scheduler.wait(&id, LONG, Some(LOOK)).await?;
        found.push(begun.elapsed().as_secs_f64() * 1000.0);
    }
    Ok(json!({ "latencies_ms": found[WARM..] }))
}

async fn start(zart: Arc<Zart>, count: usize) -> Result<Value, Failure> {
    zart.started(0, 100).await?;
    let rate = count as f64 / zart.started(100, count).await?;
    // It has no call for many.
    Ok(json!({ "starts_per_second": rate, "single_starts_per_second": rate }))
}

async fn restart(zart: Arc<Zart>, count: usize) -> Result<Value, Failure> {
    zart.started(0, count).await?;
    let worker = zart.working();
    zart.finished(count).await?;
    worker.stop();
    let alone = count / 4;
    let mut found = Vec::new();
    for number in 0..alone {
        let begun = Instant::now();
        zart.scheduler.restart(&format!("x-{number}"), None, Some("bench")).await?;
        found.push(begun.elapsed().as_secs_f64() * 1000.0);
    }
    let seconds = each(alone..count, move |number| {
        let zart = zart.clone();
        async move {
            zart.scheduler.restart(&format!("x-{number}"), None, Some("bench")).await?;
            Ok(())
        }
    })
    .await?;
    let rate = (count - alone) as f64 / seconds;
    Ok(json!({ "latencies_ms": found, "restarts_per_second": rate }))
}

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [what, _, count, _, url] = arguments.as_slice() else {
        return Err("zart-peer WHAT --count COUNT --url URL".into());
    };
    let (zart, count) = (Arc::new(Zart::at(url).await?), count.parse()?);
    let found = match what.as_str() {
        "drain" => drain(zart, count).await?,
        "latency" => latency(zart, count).await?,
        "start" => start(zart, count).await?,
        "restart" => restart(zart, count).await?,
        other => return Err(format!("nothing to measure is called {other}").into()),
    };
    println!("{found}");
    Ok(())
}
