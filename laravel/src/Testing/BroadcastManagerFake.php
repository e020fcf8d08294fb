<?php

namespace Askr\Laravel\Testing;

use Illuminate\Broadcasting\BroadcastEvent;
use Illuminate\Broadcasting\BroadcastManager;
use Illuminate\Contracts\Bus\Dispatcher;

/** Broadcasting whose connections record. Queued events are broadcast at once, whatever the queue is. */
class BroadcastManagerFake extends BroadcastManager
{
    public function __construct($app, private readonly BroadcastManager $real, private readonly AskrFake $fake)
    {
        parent::__construct($app);
    }

    public function queue($event)
    {
        $this->fake->from($event, fn () => $this->app->make(Dispatcher::class)->dispatchNow(new BroadcastEvent(clone $event)));
    }

    public function socket($request = null)
    {
        return $request ? parent::socket($request) : $this->fake->socket();
    }

    public function driver($name = null)
    {
        $name = $name ?: $this->getDefaultDriver();
        return $this->drivers[$name] ??= new BroadcasterFake((string) $name, fn () => $this->real->connection($name), $this->fake);
    }
}
