<?php

namespace Askr;

/**
 * Pusher's end-to-end encryption: a secretbox by a key of the channel's own, which authorization gives to subscribers.
 */
final class Encryption
{
    public static function seal(string $payload, string $channel, #[\SensitiveParameter] string $master): string
    {
        if (! \function_exists('sodium_crypto_secretbox')) {
            throw new Exception('encrypted channels need the extension sodium');
        }
        $nonce = random_bytes(SODIUM_CRYPTO_SECRETBOX_NONCEBYTES);
        return json_encode([
            'nonce' => base64_encode($nonce),
            'ciphertext' => base64_encode(sodium_crypto_secretbox($payload, $nonce, self::secret($channel, $master))),
        ], JSON_THROW_ON_ERROR);
    }

    /** The channel's own key. */
    public static function secret(string $channel, #[\SensitiveParameter] string $master): string
    {
        return hash('sha256', $channel . $master, true);
    }
}
