//! The least that stands around an engine: records in, routes, outcomes recorded in memory.

use std::collections::HashMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use memchr::memmem;
use postalynk_delivery::{Engine, RouteSpec, Row, Settings};
use postalynk_record::v1::{self, message};
use postalynk_record::{MessageId, Record, SEND_NORMAL};

use crate::Failure;

const PARTITION: u32 = 0;
const BATCH: usize = 1_000;

/// See the module.
pub struct Worker {
    pub engine: Engine,
    routes: Vec<RouteSpec>,
    content: Bytes,
    offset: u64,
    events: u64,
}

impl Worker {
    /// A worker whose messages leave by one of these pools, each with this content.
    pub fn new(settings: Settings, pools: &[String], content: Bytes) -> Result<Self, Failure> {
        let engine = Engine::new(settings)?;
        engine.restored(false)?;
        let route = |pool: &String| RouteSpec {
            pool: pool.clone(),
            ..RouteSpec::default()
        };
        Ok(Self {
            engine,
            routes: pools.iter().map(route).collect(),
            content,
            offset: 0,
            events: 0,
        })
    }

    /// How many pools there are.
    pub fn pools(&self) -> usize {
        self.routes.len()
    }

    /// Takes one message to each of these addresses into the engine.
    pub fn admit(&mut self, addresses: impl Iterator<Item = String>) -> Result<(), Failure> {
        let mut rows = Vec::new();
        for address in addresses {
            rows.push(self.row(address)?);
        }
        let ends = HashMap::from([(PARTITION, self.events)]);
        match self.engine.admit(rows, &ends).first() {
            None => Ok(()),
            Some(undecodable) => Err(format!("{undecodable:?}").into()),
        }
    }

    fn row(&mut self, address: String) -> Result<Row, Failure> {
        let now_us = SystemTime::now().duration_since(UNIX_EPOCH)?.as_micros() as u64;
        let mut random = [0; 10];
        random[..8].copy_from_slice(&self.offset.to_be_bytes());
        let record = Record::encode(v1::Message {
            id: Bytes::copy_from_slice(MessageId::new(now_us / 1_000, random).as_bytes()),
            org: "org_bench".into(),
            accepted_at_us: now_us,
            reverse_path: "bounce@sender.example".into(),
            recipients: vec![v1::Recipient {
                address,
                ..Default::default()
            }],
            message_id: format!("{}@sender.example", self.offset),
            content: Some(message::Content::Raw(self.content.clone())),
            ..Default::default()
        })?;
        self.offset += 1;
        Ok(Row {
            topic: SEND_NORMAL.into(),
            partition: PARTITION,
            offset: self.offset - 1,
            appended_at_us: now_us,
            value: record.raw().clone(),
        })
    }

    /// Routes what waits; `pool` chooses by address.
    pub fn route(&self, pool: impl Fn(&str) -> usize) -> Result<(), Failure> {
        let batch = self.engine.routable(BATCH, Duration::ZERO);
        let route = |address| self.routes[pool(address)].clone();
        let deliveries = batch.deliveries.iter();
        let routes: Vec<RouteSpec> = deliveries.map(|one| route(one.address())).collect();
        let choice: Vec<usize> = (0..routes.len()).collect();
        self.engine.dispatch(batch, routes, &choice)?;
        Ok(())
    }

    /// Records what ended; answers how many of it went to this domain.
    pub fn record(&mut self, domain: &str) -> Result<usize, Failure> {
        let batch = self.engine.outcomes(BATCH, Duration::from_millis(2));
        let events = batch.events();
        let first = self.events;
        self.events += events.len() as u64;
        let offsets: Vec<u64> = (first..self.events).collect();
        let _ = batch.deferrals();
        self.engine.recorded(&batch, &offsets)?;
        let _ = self.engine.commits();
        let is_there = |value: &Bytes| memmem::find(value, domain.as_bytes()).is_some();
        let values = events.iter().filter_map(|event| event.value.as_ref());
        Ok(values.filter(|value| is_there(value)).count())
    }
}
