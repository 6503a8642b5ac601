//! Connections that break off at any byte on either side of the daemon, while a real `OpenCode` runs turns: every screen
//! ends up as a reload would show it.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use rand::{Rng, SeedableRng, rngs::StdRng};
use tokio::time::sleep;

use crate::support::{
    daemon::Daemon,
    eventually::eventually,
    opencode::{OpenCode, Store},
    relay::{Break, Relay},
    restless::{Memory, Restless},
    shown::Shown,
};

const SESSIONS: usize = 3;
const SCREENS: usize = 6;

/// How often connections break off, at least, on either side.
const CUTS: usize = 36;

#[tokio::test]
async fn however_often_the_streams_of_a_real_server_are_cut_every_screen_shows_what_a_reload_would() {
    let mut rng = StdRng::seed_from_u64(7);
    let store = Store::new().await;
    let server = OpenCode::start(&store, &store.project("project")).await;
    let relay = Relay::posing_as(&server, &store).await;
    let daemon = Daemon::start([relay.url()]).await;
    daemon.hears(&server).await;
    let mut sessions = Vec::new();
    for _ in 0..SESSIONS {
        sessions.push(server.create_session().await);
    }
    let calm = Arc::new(AtomicBool::new(false));
    let mut screens = Vec::new();
    for n in 0..SCREENS {
        screens.push(Restless::start(&daemon, Memory::of(n), rng.random(), &calm).await);
    }

    let before = relay.connections();
    let cuts_to_screens = || screens.iter().map(Restless::cuts).sum::<usize>();
    let mut turns = 0;
    while cuts_to_screens() < CUTS || relay.connections() - before < CUTS {
        let session = &sessions[turns % SESSIONS];
        let word = format!("turn-{turns}-");
        turns += 1;
        server.prompt_async(session, &format!("SLOW {word}")).await;
        store.model.wait_for(&word).await;
        for _ in 0..4 {
            relay.set_break(Break::Cut(rng.random_range(150..20_000)));
            relay.cut();
            sleep(Duration::from_millis(rng.random_range(0..120))).await;
        }
        if turns % 2 == 1 {
            // Nobody hears how this one ends.
            relay.set_break(Break::Refuse);
            relay.cut();
        }
        store.model.release(&word);
        server.wait_until_idle(session).await;
    }

    calm.store(true, Ordering::Relaxed);
    relay.mend();
    screens.iter().for_each(Restless::mend);
    for (n, screen) in screens.iter().enumerate() {
        eventually(&format!("screen {n} ({:?}) after {turns} turns", screen.memory()), || async {
            let unlike =
                screen.shows().of(&sessions).unlike(&Shown::reloaded(&sessions, &server.url()).await);
            if unlike.is_empty() { Ok(()) } else { Err(unlike) }
        })
        .await;
        assert!(screen.shows().created.values().all(|times| *times == 1), "{:?}", screen.shows().created);
    }
    let written = screens[0].shows().of(&sessions).messages.len();
    assert!(written >= 2 * turns, "{written} messages of {turns} turns");
}
