<?php

// What an application does with Symfony's Mercure component as a Debian has it. Reads a request from standard input:
//   {"do": "authorize", …}  the cookie of a subscriber, and the Link header by which pages find the hub
//   {"do": "publish", …}    publishes by each hub that the component has; the ids, in order

declare(strict_types=1);

require 'Symfony/Component/Mercure/autoload.php';

use Symfony\Component\HttpFoundation\Request;
use Symfony\Component\Mercure\Authorization;
use Symfony\Component\Mercure\Discovery;
use Symfony\Component\Mercure\FrankenPhpHub;
use Symfony\Component\Mercure\Hub;
use Symfony\Component\Mercure\HubRegistry;
use Symfony\Component\Mercure\Jwt\FactoryTokenProvider;
use Symfony\Component\Mercure\Jwt\StaticTokenProvider;
use Symfony\Component\Mercure\Jwt\TokenFactoryInterface;
use Symfony\Component\Mercure\Update;
use Symfony\Component\WebLink\HttpHeaderSerializer;

/** Debian has no library for tokens beside the component, which leaves that to the application. */
final class Tokens implements TokenFactoryInterface
{
    public function __construct(private string $secret)
    {
    }

    public function create(?array $subscribe = [], ?array $publish = [], array $additionalClaims = []): string
    {
        $part = fn (string $bytes): string => rtrim(strtr(base64_encode($bytes), '+/', '-_'), '=');
        $expires = $additionalClaims['exp'] ?? new DateTimeImmutable('+1 hour');
        $claims = ['exp' => $expires->getTimestamp(), 'mercure' => ['publish' => $publish ?? [], 'subscribe' => $subscribe ?? []]];
        $signed = $part('{"alg":"HS256","typ":"JWT"}') . '.' . $part(json_encode($claims));
        return "$signed." . $part(hash_hmac('sha256', $signed, $this->secret, true));
    }
}

$asked = json_decode(stream_get_contents(STDIN), true, flags: JSON_THROW_ON_ERROR);
$tokens = new Tokens($asked['secret']);
// The component sorts its arguments differently from version to version.
$provider = new FactoryTokenProvider(factory: $tokens, publish: ['*'], subscribe: []);
$remote = new Hub($asked['url'], $provider, $tokens, $asked['public_url']);
$inProcess = class_exists(FrankenPhpHub::class) ? new FrankenPhpHub($asked['public_url'], $tokens) : null;

$authorize = function () use ($asked, $remote, $inProcess): array {
    $registry = new HubRegistry($inProcess ?? $remote, []);
    $request = Request::create($asked['page']);
    $cookie = (new Authorization($registry))->createCookie($request, $asked['topics']);
    (new Discovery($registry))->addLink($request);
    return [
        'cookie' => (string) $cookie,
        'link' => (new HttpHeaderSerializer())->serialize($request->attributes->get('_links')->getLinks()),
    ];
};

$publish = function () use ($asked, $remote, $inProcess): array {
    $topic = $asked['topics'][0];
    $hubs = array_filter(['posted' => $remote, 'posted, 1.0' => new Hub($asked['url'], new StaticTokenProvider($asked['token'])), 'in process' => $inProcess]);
    $ids = [];
    foreach ($hubs as $name => $hub) {
        $ids[] = $hub->publish(new Update($topic, "$name\nprivate", true));
        $ids[] = $hub->publish(new Update([$topic, 'urn:other'], $name, false, "urn:$name", 'updated', 5000));
    }
    $refused = [];
    foreach ($hubs + ['without a key' => new Hub($asked['url'], new StaticTokenProvider('a.b.c'))] as $name => $hub) {
        try {
            $hub->publish(new Update($name === 'without a key' ? $topic : '*', 'refused'));
        } catch (RuntimeException $why) {
            $refused[] = $name;
        }
    }
    return ['ids' => $ids, 'hubs' => array_keys($hubs), 'refused' => $refused];
};

echo json_encode([
    ...($asked['do'] === 'authorize' ? $authorize() : $publish()),
    'php' => PHP_VERSION,
    'mercure_publish' => function_exists('mercure_publish'),
]);
