//! Presence through the engines, under random schedules: whoever joins, leaves, disconnects and reconnects, whenever askrd
//! is restarted or killed, and however slow the sockets are, the members that a page computes from the snapshots and changes it is sent are the true ones;
//! and no page is sent a join or a leave twice.

use std::collections::BTreeSet;

use tokio::sync::oneshot;

use super::*;
use crate::app::application::App;
use crate::auth::authorizer::Access;
use crate::hub::command::Command;
use crate::hub::presence::Before;
use crate::testing::app_after;

const ROOMS: [&str; 2] = ["presence-a", "presence-b"];
const WORKERS: usize = 2;

#[derive(Debug, Clone)]
enum Step {
    /// A user opens a stream on one room or both.
    Enter {
        worker: usize,
        user: u8,
        rooms: u8,
        small: bool,
    },
    Add(usize, usize),
    Remove(usize, usize),
    /// A connection is lost.
    Disconnect(usize),
    /// The grace time of all lost members ends.
    Grace,
    /// askrd is restarted, and knows who was there; or it was killed, and only knows that somebody was.
    Restart {
        killed: bool,
    },
    /// A large event is published to a room, so that sockets become full.
    Publish(usize, usize),
    Inbox(usize),
    Ready(usize),
    Replay(usize),
    Read(usize, usize),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0..WORKERS, 0..4u8, 1..4u8, any::<bool>())
            .prop_map(|(worker, user, rooms, small)| Step::Enter { worker, user, rooms, small }),
        2 => (0..8usize, 0..2usize).prop_map(|(page, room)| Step::Add(page, room)),
        2 => (0..8usize, 0..2usize).prop_map(|(page, room)| Step::Remove(page, room)),
        3 => (0..8usize).prop_map(Step::Disconnect),
        1 => Just(Step::Grace),
        1 => any::<bool>().prop_map(|killed| Step::Restart { killed }),
        2 => (0..2usize, 1000..40_000usize).prop_map(|(room, size)| Step::Publish(room, size)),
        6 => (0..WORKERS).prop_map(Step::Inbox),
        4 => (0..WORKERS).prop_map(Step::Ready),
        3 => (0..WORKERS).prop_map(Step::Replay),
        4 => (0..8usize, 1..30_000usize).prop_map(|(page, bytes)| Step::Read(page, bytes)),
    ]
}

struct Page {
    socket: UnixStream,
    worker: usize,
    id: SocketId,
    user: String,
    parser: Parser,
    head: bool,
    rooms: BTreeSet<&'static str>,
    /// The members it knows of.
    seen: BTreeMap<String, BTreeSet<String>>,
}

impl Page {
    fn read(&mut self, limit: usize) -> usize {
        let mut buffer = vec![0; limit];
        let Ok(n) = self.socket.read(&mut buffer) else {
            return 0;
        };
        let mut bytes = &buffer[..n];
        if !self.head && n > 0 {
            self.head = true;
            bytes = &bytes[1..];
        }
        for message in self.parser.feed(bytes) {
            if message.event != "message" {
                self.on_message(&message.event, &message.data);
            }
        }
        n
    }

    fn on_message(&mut self, event: &str, data: &str) {
        let data: serde_json::Value = serde_json::from_str(data).unwrap();
        let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
        let room = text(&data["channel"]);
        let me = format!("{} in {room}", self.user);
        if event == "askr:members" {
            let members = data["members"].as_array().unwrap();
            let members = members.iter().map(|member| text(&member["id"])).collect();
            self.seen.insert(room, members);
            return;
        }
        let seen = self.seen.get_mut(&room).expect("a snapshot first");
        let user = text(&data["id"]);
        match event {
            "askr:joined" => {
                assert_ne!(user, self.user, "{me}: a change of itself");
                assert!(seen.insert(user.clone()), "{me}: {user} joined twice");
            }
            "askr:left" => assert!(seen.remove(&user), "{me}: {user} left twice"),
            other => panic!("{other}"),
        }
    }

    fn slot(&mut self) -> u32 {
        while self.parser.connected().is_empty() {
            self.read(100);
        }
        let message: serde_json::Value = serde_json::from_str(&self.parser.connected()[0]).unwrap();
        let secret = message["secret"].as_str().unwrap();
        secret.split('-').nth(2).unwrap().parse().unwrap()
    }
}

struct Scene {
    hub: Arc<Hub>,
    ring: Ring,
    app: Arc<App>,
    engines: Vec<Engine>,
    pages: Vec<Page>,
    time: u64,
    next: u64,
    queue: usize,
    frames: usize,
}

fn as_user(user: &str) -> Access {
    Access {
        user: Some(user.into()),
        ..Access::default()
    }
}

impl Scene {
    fn new(queue: usize, frames: usize, before: Before) -> Self {
        let ring = Ring::default();
        let index = Bounds {
            entries: 1000,
            channels: 1000,
            marks: 1000,
        };
        let hub = hub_of(WORKERS, Box::new(ring.clone()), queue, index, 1 << 30);
        let app = app_after(hub.clone(), before);
        let rules = rules(Io::Write, SlowClients::Replay, frames);
        let engine = |worker| Engine::new(worker, app.clone(), rules, EPOCH).unwrap();
        Self {
            engines: (0..WORKERS).map(engine).collect(),
            hub,
            ring,
            app: app.clone(),
            pages: Vec::new(),
            time: 0,
            next: FIRST,
            queue,
            frames,
        }
    }

    /// All pages are gone, and may enter again.
    fn restart(&mut self, killed: bool) {
        let on = |room: &'static str| {
            let members = self.app.roster.list(room).into_iter();
            members.map(move |member| (room.to_owned(), member.id.to_string()))
        };
        let before = match killed {
            true => Before::Somebody,
            false => Before::These(ROOMS.into_iter().flat_map(on).collect()),
        };
        *self = Self::new(self.queue, self.frames, before);
    }

    fn enter(&mut self, worker: usize, user: u8, rooms: u8, small: bool) {
        let (fd, theirs) = sockets(small);
        let admission = Admission::new(
            &self.hub.process.limits,
            &self.hub.process.metrics,
            worker,
            None,
        );
        let rooms: BTreeSet<&str> = (0..2)
            .filter(|n| rooms & 1 << n != 0)
            .map(|n| ROOMS[n])
            .collect();
        let user = format!("u{user}");
        let opening = Opening {
            head: b"H".to_vec(),
            channels: rooms.iter().map(|room| (*room).to_owned()).collect(),
            accesses: rooms.iter().map(|_| as_user(&user)).collect(),
            ..opening(fd, admission.unwrap().keep())
        };
        let id = opening.socket;
        self.engines[worker].open(opening);
        self.pages.push(Page {
            socket: theirs,
            worker,
            id,
            user,
            parser: Parser::default(),
            head: false,
            rooms,
            seen: BTreeMap::new(),
        });
    }

    fn add(&mut self, page: usize, room: usize) {
        let page = &mut self.pages[page];
        let (answer, mut answered) = oneshot::channel();
        self.engines[page.worker].command(Command::Subscribe {
            slot: page.slot(),
            revocations: 0,
            socket: page.id,
            channels: vec![(ROOMS[room].to_owned(), as_user(&page.user))],
            since: None,
            answer: Some(answer),
        });
        assert!(answered.try_recv().unwrap().is_ok());
        page.rooms.insert(ROOMS[room]);
    }

    fn remove(&mut self, page: usize, room: usize) {
        let page = &mut self.pages[page];
        let (answer, mut answered) = oneshot::channel();
        self.engines[page.worker].command(Command::Unsubscribe {
            slot: page.slot(),
            socket: page.id,
            channels: vec![ROOMS[room].to_owned()],
            answer,
        });
        assert!(answered.try_recv().unwrap().is_ok());
        page.rooms.remove(ROOMS[room]);
    }

    fn grace(&mut self) {
        self.time += 1_000_000;
        self.app.roster.tick(&self.hub, self.time);
    }

    fn publish(&mut self, room: usize, size: usize) {
        let seq = self.next;
        self.next += 1;
        let event = event(&[ROOMS[room]], None, None, None, &"x".repeat(size)).unwrap();
        self.ring.0.lock().unwrap().insert(seq, event.clone());
        self.hub.index.push(seq, event.channels(), None, 0);
        self.hub.watermarks.start(seq + 1);
        let workers = self.hub.routes.workers(event.channels());
        let encoded = Arc::new(EncodedEvent::new(
            EPOCH,
            seq,
            event,
            &self.hub.process.memory,
        ));
        for worker in (0..WORKERS).filter(|worker| workers & 1 << worker != 0) {
            self.hub.inboxes[worker].push(Delivery::Event(encoded.clone()));
        }
        self.hub.watermarks.complete(seq + 1);
    }

    fn step(&mut self, step: Step) {
        let count = self.pages.len();
        match step {
            Step::Enter {
                worker,
                user,
                rooms,
                small,
            } if count < 8 => self.enter(worker, user, rooms, small),
            Step::Enter { .. } => {}
            Step::Grace => self.grace(),
            Step::Restart { killed } => self.restart(killed),
            Step::Publish(room, size) => self.publish(room, size),
            Step::Inbox(worker) => self.engines[worker].on_inbox(),
            Step::Ready(worker) => drop(self.engines[worker].on_ready()),
            Step::Replay(worker) => self.engines[worker].on_replay(),
            _ if count == 0 => {}
            Step::Add(page, room) => self.add(page % count, room),
            Step::Remove(page, room) => self.remove(page % count, room),
            Step::Disconnect(page) => drop(self.pages.swap_remove(page % count)),
            Step::Read(page, bytes) => drop(self.pages[page % count].read(bytes)),
        }
    }

    fn run_until_idle(&mut self) {
        for round in 0.. {
            assert!(round < 5_000, "it never becomes idle");
            for engine in &mut self.engines {
                engine.on_inbox();
                while !engine.on_ready() {}
                engine.on_replay();
            }
            let read: usize = self.pages.iter_mut().map(|page| page.read(100_000)).sum();
            if read == 0 && !self.engines.iter().any(Engine::has_more) {
                break;
            }
        }
    }

    fn check(&mut self) {
        self.run_until_idle();
        self.grace();
        self.run_until_idle();
        for room in ROOMS {
            let expected = self.pages.iter().filter(|page| page.rooms.contains(room));
            let expected: BTreeSet<String> = expected.map(|page| page.user.clone()).collect();
            let members = self.app.roster.list(room);
            let members: BTreeSet<String> = members.iter().map(|m| m.id.to_string()).collect();
            assert_eq!(
                members, expected,
                "{room}: the members are who is connected"
            );
            for page in self.pages.iter().filter(|page| page.rooms.contains(room)) {
                assert_eq!(
                    page.seen.get(room),
                    Some(&expected),
                    "{} in {room}",
                    page.user
                );
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn the_members_a_page_knows_are_those_who_are_connected(
        steps in prop::collection::vec(step(), 1..200),
        queue in prop_oneof![Just(1usize), Just(3), Just(1000)],
        frames in prop_oneof![Just(1usize), Just(3), Just(100_000)],
    ) {
        let mut scene = Scene::new(queue, frames, Before::Nobody);
        for step in steps {
            scene.step(step);
        }
        scene.check();
    }
}
