//! Counters and gauges of the process, and the table of all metrics. What is counted for every event is not
//! counted here, but by each worker (`worker_counters.rs`) and tailer for itself; rows of such metrics are filled
//! in when they are read.

use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;

use crate::process::exposition::{Exposition, Kind};

#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    pub fn add(&self, n: u64) {
        self.0.fetch_add(n, Relaxed);
    }

    pub fn sub(&self, n: u64) {
        self.0.fetch_sub(n, Relaxed);
    }

    pub fn set(&self, n: u64) {
        self.0.store(n, Relaxed);
    }

    pub fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

macro_rules! metrics {
    ($($(#[doc = $doc:literal])* $field:ident: $kind:ident $name:literal;)*) => {
        /// Counters and gauges, each with the name and help text it is shown under.
        #[derive(Debug, Default)]
        pub struct Metrics {
            $($(#[doc = $doc])* pub $field: Counter,)*
        }

        impl Metrics {
            /// Each family with its samples.
            pub fn write_to(&self, out: &mut Exposition) {
                let mut family = "";
                $(
                    let bare: &'static str = $name.split('{').next().unwrap_or($name);
                    // Rows of one family share its head.
                    if bare != family {
                        out.family(bare, kind!($kind), concat!($($doc),*).trim());
                        family = bare;
                    }
                    out.row($name, self.$field.get());
                )*
                let _ = family;
            }

            /// The samples of a family that has one label: its value, and the count.
            pub fn labelled(&self, family: &str) -> Vec<(&'static str, u64)> {
                let rows = [$(($name, &self.$field)),*];
                let label = |name: &'static str| {
                    let (_, value) = name.strip_prefix(family)?.strip_prefix('{')?.split_once("=\"")?;
                    value.strip_suffix("\"}")
                };
                let each = rows.into_iter();
                each.filter_map(|(name, count)| Some((label(name)?, count.get()))).collect()
            }
        }
    };
}

macro_rules! kind {
    (counter) => {
        Kind::Counter
    };
    (gauge) => {
        Kind::Gauge
    };
}

metrics! {
    /// Connections open, requests and streams.
    connections: gauge "askr_connections";
    /// Streams open.
    streams: gauge "askr_streams";
    /// Subscriptions, a stream counting once for each of its channels.
    subscriptions: gauge "askr_subscriptions";
    /// Channels with a subscriber.
    channels: gauge "askr_channels";
    /// 1 while viewers are let go, because of `askrd drain`.
    draining: gauge "askr_draining";
    /// Connections accepted.
    accepted: counter "askr_accepted_total";
    /// Connections answered with a time to come back, or closed at once, at a limit.
    over_total: counter "askr_refused_total{limit=\"connections\"}";
    over_address: counter "askr_refused_total{limit=\"address\"}";
    over_channels: counter "askr_refused_total{limit=\"channels\"}";
    over_address_channels: counter "askr_refused_total{limit=\"channels_per_address\"}";
    over_address_subscribers: counter "askr_refused_total{limit=\"subscribers_per_address\"}";
    over_descriptors: counter "askr_refused_total{limit=\"descriptors\"}";
    over_app: counter "askr_refused_total{limit=\"app_connections\"}";
    over_app_address: counter "askr_refused_total{limit=\"app_address\"}";
    over_members: counter "askr_refused_total{limit=\"members\"}";
    over_patterns: counter "askr_refused_total{limit=\"patterns\"}";
    over_grants: counter "askr_refused_total{limit=\"grants\"}";
    over_drain: counter "askr_refused_total{limit=\"drain\"}";
    over_subscribers: counter "askr_refused_total{limit=\"subscribers_per_channel\"}";
    over_requests: counter "askr_refused_total{limit=\"requests\"}";
    /// Bytes of requests in progress.
    requests_bytes: gauge "askr_requests_bytes";
    /// Requests in progress that gave way to others, at the bound of all or of their client's address.
    requests_gave_way_total: counter "askr_requests_given_way_total{bound=\"total\"}";
    requests_gave_way_address: counter "askr_requests_given_way_total{bound=\"address\"}";
    /// Connections closed because their client did not read the response.
    answers_stalled: counter "askr_answers_stalled_total";
    /// Connections to the control socket refused because the user, or all users together, had too many.
    control_refused: counter "askr_control_refused_total";
    /// Connections to the control socket refused, by the bound that was reached: of their user, or of all users together.
    control_full_user: counter "askr_control_connections_refused_total{limit=\"user\"}";
    control_full_all: counter "askr_control_connections_refused_total{limit=\"all\"}";
    /// Connections to the listeners for operators closed before they were done, because a newer one needed their place.
    dashboard_connections_gave_way: counter "askr_operator_connections_given_way_total{listener=\"dashboard\"}";
    metrics_connections_gave_way: counter "askr_operator_connections_given_way_total{listener=\"metrics\"}";
    /// Requests to sign in to the dashboard: with the secret, with a wrong one, refused because too many were wrong, or refused
    /// because the secret had not come and somebody else wanted to sign in.
    dashboard_signed_in: counter "askr_dashboard_sign_ins_total{result=\"signed_in\"}";
    dashboard_wrong: counter "askr_dashboard_sign_ins_total{result=\"wrong\"}";
    dashboard_too_many: counter "askr_dashboard_sign_ins_total{result=\"too_many\"}";
    dashboard_sign_ins_gave_way: counter "askr_dashboard_sign_ins_total{result=\"gave_way\"}";
    /// Pages of the dashboard that were not served, because as many were open as may, and those ended because they were not read.
    dashboard_pages_refused: counter "askr_dashboard_pages_total{result=\"refused\"}";
    dashboard_pages_stalled: counter "askr_dashboard_pages_total{result=\"stalled\"}";
    /// Questions about a channel that was not traced, because as many others were as can be.
    traces_refused: counter "askr_traces_refused_total";
    /// Requests refused with a status of 400 to 499.
    refused_requests: counter "askr_bad_requests_total";
    /// Requests without a required token, or with one that was refused.
    refused_tokens: counter "askr_tokens_refused_total";
    /// Reports of publishers (askr_publish_failures_total) that were none.
    reports_malformed: counter "askr_publish_reports_malformed_total";
    /// Events read from the ring.
    events: counter "askr_events_read_total";
    /// Events not delivered because an earlier one that the ring still holds has the same key.
    repeated: counter "askr_events_repeated_total";
    /// Positions lost: overwritten before they were read, unreadable, written by a publisher that is too new for
    /// this askrd, skipped because askrd died twice while it worked on them, or said to be of another host by somebody
    /// who does not import its events.
    lapped: counter "askr_positions_lost_total{reason=\"lapped\"}";
    unreadable: counter "askr_positions_lost_total{reason=\"unreadable\"}";
    unsupported: counter "askr_positions_lost_total{reason=\"unsupported\"}";
    quarantined: counter "askr_positions_lost_total{reason=\"quarantined\"}";
    forged: counter "askr_positions_lost_total{reason=\"forged\"}";
    /// Positions of other hosts that can no longer be had, as gap records in the ring say.
    imported_gaps: counter "askr_imported_positions_lost_total";
    /// Reloads that took effect, and those refused because the settings could not be used.
    reloads_taken: counter "askr_reloads_total{result=\"taken\"}";
    reloads_refused: counter "askr_reloads_total{result=\"refused\"}";
    /// Settings that the last reload found changed and that wait for a restart.
    settings_waiting: gauge "askr_settings_waiting_for_restart";
    /// Positions claimed by publishers and not delivered to workers yet.
    behind: gauge "askr_ring_lag_positions";
    /// Times the ring was replaced, with or without its history.
    replaced: counter "askr_ring_replaced_total";
    /// Bytes of memory that replaced rings take, which are kept for their history (`.old-…`).
    retired_bytes: gauge "askr_ring_retired_bytes";
    /// Rings that publishers cannot reach, or that cannot be trusted, because a replacement fails; /readyz gives
    /// the reason.
    rings_in_trouble: gauge "askr_rings_in_trouble";
    /// Times a replacement of a ring failed.
    replacements_failed: counter "askr_ring_replacements_failed_total";
    /// Frames sent or queued to streams, pings not among them.
    delivered: counter "askr_events_delivered_total";
    /// Events read from the ring again for a stream that replays.
    replayed: counter "askr_events_replayed_total";
    /// Slow clients that were switched to replay from the ring, or had to skip events.
    slow_replayed: counter "askr_slow_clients_total{action=\"replay\"}";
    slow_skipped: counter "askr_slow_clients_total{action=\"skip\"}";
    /// Events that slow clients skipped; each client was sent a gap.
    skipped: counter "askr_events_skipped_total";
    /// Channels that a new subscription looked back at.
    rewinds: counter "askr_rewinds_total";
    /// Those of them of which a bound withheld some events.
    rewinds_cut: counter "askr_rewinds_cut_total";
    /// Positions read one by one for a replay, because the index had forgotten their channels.
    scanned: counter "askr_positions_scanned_total";
    /// Turns that replaying streams have had: one for each chunk, also an empty one.
    replay_turns: counter "askr_replay_turns_total";
    /// Replaying streams that wait for their turn, and neither for their socket nor for their client's share.
    replays_due: gauge "askr_replays_waiting";
    /// Times a replay had to wait, because its client had used up its share of scanning the ring.
    paced: counter "askr_replays_paced_total";
    /// Pages of history given.
    history_pages: counter "askr_history_pages_total";
    /// Events on pages of history.
    history_events: counter "askr_history_events_total";
    /// Calls for a page of history that were refused: too many of one client address, or nothing could be done for it
    /// at the moment.
    history_rate: counter "askr_history_refused_total{reason=\"rate\"}";
    history_busy: counter "askr_history_refused_total{reason=\"busy\"}";
    /// Events that were erased, an event of several channels counting once for each that it was erased on.
    erased: counter "askr_events_erased_total";
    /// Channels whose events up to some position are erased.
    erased_channels: gauge "askr_channels_erased";
    /// Gap events sent.
    gaps: counter "askr_gaps_told_total";
    /// Resumes by an unknown cursor or id.
    unknown_cursors: counter "askr_unknown_cursors_total";
    /// Pings sent.
    pings: counter "askr_pings_total";
    /// Times a worker was too far behind and its streams read from the ring instead.
    overruns: counter "askr_worker_overruns_total";
    /// Bytes written to streams.
    bytes: counter "askr_written_bytes_total";
    /// The same under its name of before, which the next release no longer has.
    bytes_before: counter "askr_bytes_written_total";
    /// Bytes waiting for slow clients; what is shared counts for each of them.
    outbox_bytes: gauge "askr_outbox_bytes";
    /// Bytes of memory for events, in every form; what is shared counts once. Bounded by server.outbox_total.
    held_bytes: gauge "askr_held_bytes";
    /// Slow clients whose outbox was dropped, and replay caches that were emptied, because memory for events was
    /// short.
    relieved_stream: counter "askr_memory_relief_total{what=\"stream\"}";
    relieved_cache: counter "askr_memory_relief_total{what=\"cache\"}";
    /// Streams that were switched to replay within an event that is large in the forms of all its channels.
    large_replayed: counter "askr_large_events_replayed_total";
    /// Streams ended, by reason.
    closed_peer: counter "askr_streams_ended_total{reason=\"peer\"}";
    closed_input: counter "askr_streams_ended_total{reason=\"input\"}";
    closed_error: counter "askr_streams_ended_total{reason=\"error\"}";
    closed_slow: counter "askr_streams_ended_total{reason=\"slow\"}";
    closed_memory: counter "askr_streams_ended_total{reason=\"memory\"}";
    closed_stalled: counter "askr_streams_ended_total{reason=\"stalled\"}";
    closed_drain: counter "askr_streams_ended_total{reason=\"drain\"}";
    closed_aged: counter "askr_streams_ended_total{reason=\"age\"}";
    closed_expired: counter "askr_streams_ended_total{reason=\"token\"}";
    closed_idle: counter "askr_streams_ended_total{reason=\"idle\"}";
    closed_form: counter "askr_streams_ended_total{reason=\"closed\"}";
    closed_ended: counter "askr_streams_ended_total{reason=\"command\"}";
    closed_members: counter "askr_streams_ended_total{reason=\"members\"}";
    /// Connections that have been sent their final message or response and whose client has not closed yet.
    ending: gauge "askr_connections_ending";
    /// Such connections that were closed because their client took too long, or sent too much, or because
    /// what waited for it was in the way of others.
    endings_cut_time: counter "askr_endings_cut_total{limit=\"time\"}";
    endings_cut_bytes: counter "askr_endings_cut_total{limit=\"bytes\"}";
    endings_cut_memory: counter "askr_endings_cut_total{limit=\"memory\"}";
    /// Ephemeral frames (members that join and leave, client events) that a slow client missed.
    ephemeral_missed: counter "askr_ephemeral_missed_total";
    /// Members of presence channels, those in their grace time included.
    members: gauge "askr_presence_members";
    /// Joins refused at a limit.
    members_refused: counter "askr_presence_refused_total";
    /// Last events of cache channels that were forgotten because there were too many.
    last_events_forgotten: counter "askr_last_events_forgotten_total";
    /// Client events passed on.
    client_events: counter "askr_client_events_total";
    /// What WebSocket clients were refused; client events also of those who send them by HTTP.
    talk_malformed: counter "askr_websocket_refused_total{what=\"malformed\"}";
    talk_subscription: counter "askr_websocket_refused_total{what=\"subscription\"}";
    talk_client_event: counter "askr_websocket_refused_total{what=\"client_event\"}";
    talk_event_name: counter "askr_websocket_refused_total{what=\"event_name\"}";
    talk_client_event_share: counter "askr_websocket_refused_total{what=\"client_event_address\"}";
    talk_rate: counter "askr_websocket_refused_total{what=\"rate\"}";
    talk_signin: counter "askr_websocket_refused_total{what=\"signin\"}";
    talk_silent: counter "askr_websocket_refused_total{what=\"no_pong\"}";
    talk_unauthorized: counter "askr_websocket_refused_total{what=\"unauthorized\"}";
    talk_violation: counter "askr_websocket_refused_total{what=\"violation\"}";
    /// Calls to applications' auth_url; channels they refused; calls without a usable response; calls not made
    /// because there were too many, in all or of one address, or because the viewer had no credentials; channels
    /// granted from the cache.
    auth_asked: counter "askr_auth_calls_total{result=\"asked\"}";
    auth_refused: counter "askr_auth_calls_total{result=\"refused\"}";
    auth_away: counter "askr_auth_calls_total{result=\"away\"}";
    auth_full: counter "askr_auth_calls_total{result=\"full\"}";
    auth_share: counter "askr_auth_calls_total{result=\"address\"}";
    auth_anonymous: counter "askr_auth_calls_total{result=\"anonymous\"}";
    auth_cached: counter "askr_auth_calls_total{result=\"cached\"}";
    /// Reads of the file of secrets, after its first, because a token was verified by none of them: they were
    /// others than before, the same, or the file could not be used.
    secrets_changed: counter "askr_secret_reads_total{result=\"changed\"}";
    secrets_unchanged: counter "askr_secret_reads_total{result=\"unchanged\"}";
    secrets_failed: counter "askr_secret_reads_total{result=\"failed\"}";
    /// Viewers with such a token who were asked to come back, because too many waited for a read, in all or of one
    /// address, or it took too long.
    secrets_later: counter "askr_secret_reads_not_awaited_total";
    /// Applications with a revocation that is in the future, because it was made while the clock was ahead: tokens
    /// issued until then are refused.
    revocations_ahead: gauge "askr_revocations_in_future";
    /// Webhook events, and requests that failed.
    hooks_delivered: counter "askr_webhooks_total{result=\"delivered\"}";
    hooks_dropped: counter "askr_webhooks_total{result=\"dropped\"}";
    hooks_share: counter "askr_webhooks_total{result=\"dropped_address\"}";
    hooks_given_up: counter "askr_webhooks_total{result=\"given_up\"}";
    hooks_failed: counter "askr_webhooks_total{result=\"failed_request\"}";
    /// Webhook events waiting.
    hooks_waiting: gauge "askr_webhooks_waiting";
    /// Applications that are connected to other hosts, by way of the server of cluster.url.
    cluster_connected: gauge "askr_cluster_connected";
    /// Times a connection to it was made.
    cluster_connections: counter "askr_cluster_connections_total";
    /// Hosts that live, this one among them, of all applications together.
    cluster_nodes: gauge "askr_cluster_nodes";
    /// What is known of the other hosts beside events: their members, subscriber counts and signed-in users.
    cluster_facts: gauge "askr_cluster_facts";
    /// How often such facts of a host were read again, because some change of them was missing.
    cluster_facts_read: counter "askr_cluster_facts_read_total";
    /// Such facts that found no room.
    cluster_facts_left_out: counter "askr_cluster_facts_left_out_total";
    /// Events that other hosts were given; those that they were given once more, because they asked; stretches that had
    /// been overwritten before.
    cluster_relayed: counter "askr_cluster_relayed_total{what=\"event\"}";
    cluster_resent: counter "askr_cluster_relayed_total{what=\"again\"}";
    cluster_unrelayed: counter "askr_cluster_relayed_total{what=\"lost\"}";
    /// Events of other hosts that were taken, and what is no event: copies of those that were there, stretches that
    /// can no longer be had.
    cluster_imported: counter "askr_cluster_imported_total{what=\"event\"}";
    cluster_duplicates: counter "askr_cluster_imported_total{what=\"duplicate\"}";
    cluster_gaps: counter "askr_cluster_imported_total{what=\"gap\"}";
    /// Events that came before earlier ones of their host, and waited for those, or found no room to wait and come again.
    cluster_held: counter "askr_cluster_held_back_total{result=\"kept\"}";
    cluster_not_held: counter "askr_cluster_held_back_total{result=\"dropped\"}";
    /// Bytes of events that wait so. Bounded by cluster.held_back.
    cluster_held_bytes: gauge "askr_cluster_held_back_bytes";
    /// What the server has that is not used: of too many hosts or of two with one name, or not what askrd writes.
    cluster_refused: counter "askr_cluster_refused_total{reason=\"host\"}";
    cluster_malformed: counter "askr_cluster_refused_total{reason=\"malformed\"}";
    /// Times that events of other hosts had to wait for the ring, because publishers had filled it with unfinished claims.
    cluster_stalls: counter "askr_cluster_import_stalls_total";
    /// Times that it could not be written down beside the ring what was taken from other hosts.
    cluster_unnoted: counter "askr_cluster_unnoted_total";
    /// Positions that are not relayed yet, and those of other hosts that are not here yet.
    cluster_out: gauge "askr_cluster_lag_events{direction=\"out\"}";
    cluster_in: gauge "askr_cluster_lag_events{direction=\"in\"}";
    /// Events that the server keeps.
    cluster_log: gauge "askr_cluster_log_entries";
    /// Messages between hosts; lost: not sent, because the server was away or too many waited; unanswered: questions
    /// without an answer in time.
    cluster_sent: counter "askr_cluster_messages_total{result=\"sent\"}";
    cluster_heard: counter "askr_cluster_messages_total{result=\"heard\"}";
    cluster_lost: counter "askr_cluster_messages_total{result=\"lost\"}";
    cluster_unanswered: counter "askr_cluster_messages_total{result=\"unanswered\"}";
    cluster_not_understood: counter "askr_cluster_messages_total{result=\"not_understood\"}";
    /// Times the file of revoked tokens could not be written.
    revocations_unsaved: counter "askr_revocations_unsaved_total";
    /// Presence snapshots sent.
    snapshots: counter "askr_presence_snapshots_total";
    /// Deliveries of events from tailers to workers.
    handoffs: counter "askr_handoffs_total";
    /// Times a worker woke for events.
    wakes: counter "askr_worker_wakes_total";
    /// Log lines that wait to be written: standard error is not read, or its disk is full.
    log_waiting: gauge "askr_log_lines_waiting";
    /// Log lines lost, because too many waited.
    log_lost: counter "askr_log_lines_lost_total";
    /// Refusals (askr_refusals_total) that were not logged, because there were too many different ones in a minute.
    refusals_unlogged: counter "askr_refusals_unlogged_total";
    /// Positions the index remembers.
    index_entries: gauge "askr_index_entries";
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::exposition::Syntax;

    #[test]
    fn a_family_has_one_head_and_a_row_for_each_label() {
        let metrics = Metrics::default();
        metrics.closed_slow.add(3);
        let mut out = Exposition::new(Syntax::Prometheus);
        metrics.write_to(&mut out);
        let text = out.finish();
        assert_eq!(
            text.matches("# TYPE askr_streams_ended_total counter\n")
                .count(),
            1
        );
        assert!(text.contains("\naskr_streams_ended_total{reason=\"slow\"} 3\n"));
        assert!(text.starts_with("# HELP askr_connections Connections open"));
    }
}
