<?php

namespace Askr\Laravel\Http;

use Askr\Laravel\AskrManager;
use Askr\Laravel\Webhooks\HandleWebhook;
use Illuminate\Contracts\Bus\Dispatcher;
use Illuminate\Http\Request;
use Illuminate\Http\Response;

/**
 * What askrd tells the application (app.webhook_url), signed by the application's secret. At least once: where a
 * listener throws, askrd sends the batch again.
 */
class WebhookController
{
    private const BYTES = 4 * 1024 * 1024;

    public function __invoke(Request $request, AskrManager $askr, Dispatcher $jobs): Response
    {
        $body = $request->getContent();
        $connection = $this->signer($askr, (string) $request->header('X-Pusher-Key'), $body, (string) $request->header('X-Pusher-Signature'));
        if ($connection === null) {
            return new Response("the signature does not belong to any connection of driver askr\n", 401);
        }
        $hook = \strlen($body) <= self::BYTES ? json_decode($body, true, 64) : null;
        if (! \is_array($hook) || ! \is_array($hook['events'] ?? null)) {
            return new Response("the body must be JSON with time_ms and events\n", 400);
        }
        $job = new HandleWebhook($connection, \is_int($hook['time_ms'] ?? null) ? $hook['time_ms'] : 0, $hook['events']);
        $queue = config('askr.webhook.queue', false);
        if ($queue === false || $queue === null) {
            $jobs->dispatchNow($job);
        } else {
            $jobs->dispatch(\is_string($queue) ? $job->onQueue($queue) : $job);
        }
        return new Response('', 204);
    }

    /** The connection whose key and secret these are; null: none. Compared in constant time. */
    private function signer(AskrManager $askr, string $key, string $body, string $signature): ?string
    {
        foreach ($askr->connections() as $name => $config) {
            $app = $askr->credentials($config);
            if (hash_equals($app->key, $key) && $app->hasSecret() && $app->verifies($body, $signature)) {
                return $name;
            }
        }
        return null;
    }
}
