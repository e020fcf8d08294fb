<?php

namespace Askr;

/** What may be a name. The extension and askrd check by the same rules; here for what does not go through either. */
final class Rule
{
    private const RESERVED = ['askr:', 'pusher:', 'pusher_internal:'];

    /** @return string the channel */
    public static function channel(string $name): string
    {
        self::line('a channel', $name, 200);
        if (preg_match('/\p{Cc}/u', $name)) {
            throw new \ValueError('a channel must not contain control characters');
        }
        return $name;
    }

    public static function event(string $name): string
    {
        return self::line('an event', $name, 200);
    }

    public static function key(string $key): string
    {
        return self::line('a key', $key, 200, []);
    }

    public static function user(string $user): string
    {
        if (preg_match('/\p{Cc}/u', $user)) {
            throw new \ValueError('a user must not contain control characters');
        }
        return self::line('a user', $user, 128, []);
    }

    /** A socket id has the form of two numbers of 32 bits. What has another form is nobody's: null. */
    public static function socketId(mixed $id): ?string
    {
        $form = \is_string($id) && preg_match('/\A(0|[1-9]\d{0,9})\.(0|[1-9]\d{0,9})\z/', $id, $numbers);
        return $form && max((int) $numbers[1], (int) $numbers[2]) <= 0xffffffff ? $id : null;
    }

    private static function line(string $what, string $text, int $max, array $reserved = self::RESERVED): string
    {
        if ($text === '' || \strlen($text) > $max) {
            throw new \ValueError("$what must be 1 to $max bytes long, " . \strlen($text) . ' given');
        }
        if (! preg_match('//u', $text)) {
            throw new \ValueError("$what must be UTF-8");
        }
        if (strpbrk($text, "\r\n\0") !== false) {
            throw new \ValueError("$what must be one line");
        }
        foreach ($reserved as $prefix) {
            if (str_starts_with($text, $prefix)) {
                throw new \ValueError("$what must not start with \"$prefix\"");
            }
        }
        return $text;
    }
}
