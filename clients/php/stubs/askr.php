<?php

/**
 * What askr.so gives to PHP, for editors and static analysis. The extension does not read this file;
 * php-tests/stub.phpt holds it against what the extension declares.
 */

namespace {
    /**
     * Publishes an event to every subscriber of the channels. Never waits for a reader, for askrd or
     * for another publisher.
     *
     * Elements of an array of channels are taken as implode() takes them: numbers, booleans and
     * Stringable objects become strings, under strict_types too, which is about parameters. A channel
     * named twice gets the event once.
     *
     * @param array<string|\Stringable|int|float|bool>|string $channel 1 to 100 channels, each of 1 to
     *     200 bytes of UTF-8 without control characters, not starting with "askr:", "pusher:" or
     *     "pusher_internal:"
     * @param string $payload UTF-8, up to the ring's largest payload (askr_status()['max_payload'])
     * @param string|null $event event name, 1 to 200 bytes of UTF-8 without CR, LF or NUL, with the
     *     same reserved prefixes
     * @param string|null $id id shown to the page, 1 to 200 bytes of UTF-8 without CR, LF or NUL, not
     *     in the form of a cursor (12 hexadecimal digits, a dash, digits)
     * @param int|null $retry milliseconds a browser waits before it reconnects, 0 to 4294967295
     * @param string|null $except socket id of the one subscriber to leave out, 1 to 100 bytes
     * @param string|null $key of the events with one key in an application, the first counts: later ones are not
     *     delivered, not replayed and not in history, as long as the ring holds the first (docs/EVENTS.md). Each call
     *     returns true all the same. 1 to 200 bytes of UTF-8 without CR, LF or NUL
     *
     * @return bool true when the event is in the ring. false when it is not: the ring could not be
     *     used (askr_status()['reason'] says why, askr.on_failure what else happens), or Askr is
     *     disabled by askr.enabled = 0 (arguments are checked all the same, so that a mistake shows
     *     on a developer's machine, and nobody is told that an event was sent that was not)
     *
     * @throws \ValueError for a value outside of these bounds; in strict mode (askr.strict = 1) also for an event that
     *     is not registered (askr_events()), or none
     * @throws \Askr\Exception for a ring that cannot be used, with askr.on_failure = exception
     */
    function askr_broadcast(
        array|string $channel,
        string $payload,
        ?string $event = null,
        ?string $id = null,
        ?int $retry = null,
        ?string $except = null,
        ?string $key = null,
    ): bool {
    }

    /**
     * Publishes several events in order, and wakes askrd once. Each is an array with the keys "channel" and "payload",
     * and any of "event", "id", "retry", "except" and "key": what askr_broadcast() takes, by the same rules.
     *
     * All are checked before the first is published. Not atomic: others may publish between them, and if the ring
     * cannot take one, those before it are published and those after it are not.
     *
     * @param array<array{channel: array<string|\Stringable|int|float|bool>|string, payload: string,
     *     event?: string|null, id?: string|null, retry?: int|null, except?: string|null, key?: string|null}>
     *     $events at most 1,000
     *
     * @return int how many were published, from the first on: all, unless the ring could not be used (as with
     *     askr_broadcast()); 0 with askr.enabled = 0
     *
     * @throws \TypeError for an element or a value of another type; names the element, counted from 0, and the key
     * @throws \ValueError for a value outside of the bounds, a key that is missing or unknown; names them as well
     * @throws \Askr\Exception for a ring that cannot be used, with askr.on_failure = exception; says how many were
     *     published
     */
    function askr_broadcast_all(array $events): int
    {
    }

    /**
     * Adds names to those that events may have in strict mode (askr.strict = 1), until the request ends: frameworks
     * call it when they start. A name that is there already is fine.
     *
     * @param string ...$names each 1 to 200 bytes, as for askr_broadcast(); at most 1,000 names and 65,536 bytes in
     *     one request, besides those of askr.events
     *
     * @throws \ValueError for a value outside of these bounds; none of the call's names is added then
     */
    function askr_register_event(string ...$names): void
    {
    }

    /**
     * The names that events may have in strict mode: those of askr.events, and those that this request registered.
     *
     * @return list<string> in the order of their bytes, each once
     */
    function askr_events(): array
    {
    }

    /**
     * The ring's place now, as browsers hold it: what was published before this call (its call had returned) is at
     * or before the cursor, what begins after it is after, and what is published at the same moment may be either.
     * A page that takes it before it reads its state, and begins its stream there (last_event_id), misses nothing
     * (docs/EVENTS.md). Looks at memory only, so it works without askrd, and costs about as much as a function call.
     *
     * @return string|null "epoch-position"; null when there is no ring (askr_status()['reason'] says why;
     *     askr.on_failure has no say in it, as nothing failed to be published) and with askr.enabled = 0
     */
    function askr_cursor(): ?string
    {
    }

    /**
     * What this process (this thread, in a thread-safe PHP) knows of its ring. Attaches to it if that
     * is possible and Askr is enabled. Sizes are in bytes; all numbers of the ring are 0 and epoch is
     * null while attached is false.
     *
     * @return array{
     *     enabled: bool,
     *     attached: bool,
     *     ring: string,
     *     reason: string|null,
     *     epoch: string|null,
     *     slots: int,
     *     slot_size: int,
     *     arena_size: int,
     *     writers: int,
     *     max_payload: int,
     *     tail: int,
     *     history_seconds: float,
     *     daemon_alive: bool,
     *     daemon_read: int,
     *     published: int,
     *     failures: array<string, int>,
     *     features: list<string>,
     *     keys_ignored: int,
     * }
     *     enabled: askr.enabled.
     *     attached: whether there is a ring to publish to.
     *     ring: askr.ring.
     *     reason: why it is not attached, or why the last event was not published; null when all is well.
     *     epoch: first part of the ring's cursors, 12 hexadecimal digits.
     *     slots: events the ring holds at most.
     *     slot_size: an event up to this size, less 40 bytes, lies in its slot.
     *     arena_size: room for larger events.
     *     writers: entries of the table of publishers; one per process or thread that publishes.
     *     max_payload: longest payload it takes.
     *     tail: position that the next event will get.
     *     history_seconds: age of the oldest event held.
     *     daemon_alive: whether askrd gave a sign of life within the last two seconds.
     *     daemon_read: position that askrd reads next; it has read everything when this equals tail.
     *     published: events published by this process.
     *     failures: events not published by this process, by reason: missing, permission, wrong_owner,
     *         wrong_version, invalid, writers_full, too_large, contended, arena_full, closed, io, unsupported.
     *     features: what the askrd that serves the ring reads, beyond what each askrd does: a list of "key",
     *         and, of what hosts of one application publish to each other's rings, "imported" and "gap".
     *     keys_ignored: events published without their key, because askrd is too old to know keys.
     */
    function askr_status(): array
    {
    }

    /**
     * Signs who may listen: a JWT (HS256) that askrd takes. By the first secret of askr.secret_file.
     *
     * @param array<string|\Stringable> $channels 0 to 100 channels; a "*" in a name is a "*"
     * @param int $ttl seconds until it expires, 1 to 2678400 (31 days)
     * @param string|null $user user id, 1 to 128 bytes; presence channels need one
     * @param array<mixed>|null $info what other members see of the user, at most 1024 bytes and 119 levels as JSON
     * @param array<string|\Stringable>|null $patterns a text with "*" at its end, for all channels that begin with
     *     what is before it; "*" alone for all. 100 together with $channels. Put nothing into a pattern that a
     *     user may choose
     *
     * @return string at most 4000 bytes
     *
     * @throws \ValueError for a value outside of these bounds
     * @throws \Askr\Exception if askr.secret_file is not set or cannot be used
     */
    function askr_token(
        array $channels,
        int $ttl,
        ?string $user = null,
        ?array $info = null,
        ?array $patterns = null,
    ): string {
    }

    /**
     * The channels that have subscribers now, and how many each. Asks askrd over its control socket
     * (askr.control), which answers for the application whose ring is askr.ring. Waits two seconds at most.
     *
     * @param string|null $prefix only names that begin so, up to 200 bytes of UTF-8
     *
     * @return array<string, int> by name; PHP makes an integer of a name such as "7"
     *
     * @throws \ValueError for a value outside of these bounds
     * @throws \Askr\Exception if askrd is away, late or refuses (this user may not ask about this ring),
     *     or Askr is disabled by askr.enabled = 0
     */
    function askr_channels(?string $prefix = null): array
    {
    }

    /**
     * Who is on a presence channel now: each user once, however many connections it has. Asks askrd as
     * askr_channels() does.
     *
     * @param string $channel a name as for askr_broadcast()
     *
     * @return list<array{id: string, info: mixed}> info: as json_decode($json, true) makes it, null for none
     *
     * @throws \ValueError for a value outside of these bounds
     * @throws \Askr\Exception as askr_channels()
     */
    function askr_members(string $channel): array
    {
    }

    /**
     * Ends all connections of a user, whose tokens issued until now are refused from now on. Asks askrd as
     * askr_channels() does.
     *
     * @param string $user a user id, 1 to 184 bytes of UTF-8 without control characters
     *
     * @return int connections ended. 0: the user had none at this moment; tokens are refused all the same
     *
     * @throws \ValueError for a value outside of these bounds
     * @throws \Askr\Exception as askr_channels(). After "did not answer in time" it may have been done
     *     all the same
     */
    function askr_disconnect_user(string $user): int
    {
    }

    /**
     * Ends one connection, which may come back. Asks askrd as askr_channels() does.
     *
     * @param string $socketId a socket id, such as "123.456"
     *
     * @return int connections ended: 1, or 0 if none has this id now
     *
     * @throws \ValueError for what is not a socket id
     * @throws \Askr\Exception as askr_disconnect_user()
     */
    function askr_disconnect_socket(string $socketId): int
    {
    }

    /**
     * askr_disconnect_socket() for what has the form of a socket id (digits, a dot, digits), else
     * askr_disconnect_user(). Where users choose their ids, one called "3.17" would be taken for a connection:
     * call the function that is meant.
     *
     * @param string $socketOrUser a socket id, else a user id
     *
     * @return int connections ended; 0: nobody was found
     *
     * @throws \ValueError for a value outside of these bounds
     * @throws \Askr\Exception as askr_channels(). After "did not answer in time" it may have been done
     *     all the same
     */
    function askr_disconnect(string $socketOrUser): int
    {
    }

    /**
     * What the ring still holds of a channel, the oldest event first: the newest $limit events; those after $since,
     * from the oldest on; or the newest before $before. Asks askrd as askr_channels() does (docs/HISTORY.md).
     *
     * There may be fewer events than $limit and still more to come, as an answer is bounded in bytes; only an empty
     * list is the end. The next page begins at the last element's cursor as $since, or ends at the first one's as
     * $before.
     *
     * What can no longer be had is reported as to a stream: by a first element whose event is "askr:gap" and whose
     * data is {"lost":…,"at_most":…} (docs/LOSS.md); its time is now, and its cursor good for the next page, too.
     *
     * @param string $channel a name as for askr_broadcast()
     * @param int $limit 1 to 1000
     * @param string|null $since a cursor, of askr_cursor(), of an event or of a page
     * @param string|null $before the same
     *
     * @return list<array{event: string|null, id: string|null, cursor: string, data: string, time: float}> time: when
     *     it was published, in seconds since 1970
     *
     * @throws \ValueError for a value outside of these bounds
     * @throws \Askr\Exception as askr_channels()
     */
    function askr_history(string $channel, int $limit = 100, ?string $since = null, ?string $before = null): array
    {
    }

    /**
     * Erases what the ring holds of a channel: no transport, history or command gives it out again, also after a
     * restart (docs/HISTORY.md). Asks askrd as askr_channels() does.
     *
     * @param string $channel a name as for askr_broadcast()
     *
     * @return int events erased
     *
     * @throws \ValueError for a value outside of these bounds
     * @throws \Askr\Exception as askr_channels(). After "did not answer in time" it may have been done all the same
     */
    function askr_forget(string $channel): int
    {
    }

    /**
     * Publishes an update to Mercure's subscribers of these topics: the function by which Laravel and Symfony find a hub
     * in their own process. Not declared with askr.mercure = 0, or where FrankenPHP has it.
     *
     * Channels have nothing of it: no subscriber of a channel gets what is published to topics.
     *
     * @param string|list<string> $topics 1 to 256, each of 1 to 1,024 bytes of UTF-8 without control and format
     *     characters, 32 KiB together; not "*", and not the hub's own URL or below it (askr.mercure_path). A topic
     *     given twice gets the update once
     * @param string $data UTF-8, up to the ring's largest payload (askr_status()['max_payload'])
     * @param bool $private only for subscribers whose token grants them one of the topics
     * @param string|null $id 1 to 200 bytes without control and format characters; not "earliest", not beginning with
     *     "#", which the hub's own ids do, and not in the form of a cursor
     * @param string|null $type the event's name for EventSource, 1 to 200 bytes without control and format characters;
     *     not "mercure"
     * @param int|null $retry milliseconds a browser waits before it reconnects, 0 to 4294967295
     *
     * @return string the update's id: $id, or one of the hub's. "" with askr.enabled = 0, or for a ring that cannot be
     *     used where askr.on_failure is set to silent or log
     *
     * @throws \TypeError for topics that are no strings
     * @throws \RuntimeException for a value outside of these bounds, and for a ring that cannot be used
     */
    function mercure_publish(
        string|array $topics,
        string $data = '',
        bool $private = false,
        ?string $id = null,
        ?string $type = null,
        ?int $retry = null,
    ): string {
    }
}

namespace Askr {
    /**
     * Thrown by askr_broadcast() and askr_broadcast_all() with askr.on_failure = exception, by askr_token() without a secret, and
     * by the functions that ask askrd when it gives no answer.
     */
    class Exception extends \Exception
    {
    }
}
