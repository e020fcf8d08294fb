<?php

namespace Askr\Laravel\Testing;

use Askr\Laravel\Client;

/** A client that tells the fake what it would publish. */
class ClientFake extends Client
{
    public function __construct(private readonly AskrFake $fake, private readonly string $connection)
    {
        parent::__construct(new TransportFake, new \Askr\Credentials('fake', 'fake', 'the secret of a fake application'));
    }

    public function publish(
        array $channels,
        string $payload,
        ?string $event = null,
        ?string $id = null,
        ?int $retry = null,
        ?string $except = null,
        ?string $key = null,
    ): bool {
        $this->fake->record($this->connection, array_map(strval(...), $channels), $event, $payload, $except, $key, $id);
        return true;
    }
}
