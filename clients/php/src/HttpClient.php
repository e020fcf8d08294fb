<?php

namespace Askr;

/** One HTTP request to askrd at a time, over TCP, TLS or a Unix socket. Everything that comes back is bounded. */
final class HttpClient
{
    private const HEAD_BYTES = 65536;
    private const BODY_BYTES = 17 * 1024 * 1024;

    private readonly string $address;
    private readonly string $host;
    private readonly string $prefix;

    /**
     * @param string $url "http://127.0.0.1:8080", "https://example.com", "unix:/run/askr/askrd.sock"
     * @param float $timeout seconds to connect, and seconds of silence
     */
    public function __construct(public readonly string $url, private readonly float $timeout = 2.0)
    {
        if ($timeout <= 0) {
            throw new \ValueError('the timeout must be greater than 0 (seconds)');
        }
        if (str_starts_with($url, 'unix:/')) {
            [$this->address, $this->host, $this->prefix] = ['unix://' . substr($url, 5), 'localhost', ''];
            return;
        }
        $parts = parse_url($url);
        $scheme = strtolower($parts['scheme'] ?? '');
        $more = isset($parts['query']) || isset($parts['user']);
        if (! isset($parts['host']) || ! \in_array($scheme, ['http', 'https'], true) || $more) {
            throw new \ValueError(
                "the address of askrd must be like http://127.0.0.1:8080 or unix:/run/askr/askrd.sock, \"$url\" is not",
            );
        }
        $port = $parts['port'] ?? ($scheme === 'https' ? 443 : 80);
        $this->address = ($scheme === 'https' ? 'tls' : 'tcp') . "://{$parts['host']}:$port";
        $this->host = $parts['host'] . (isset($parts['port']) ? ":$port" : '');
        $this->prefix = rtrim($parts['path'] ?? '', '/');
    }

    /**
     * @param array<string, string> $headers
     *
     * @return array{int, string, array<string, string>} status, body, headers by their lower-case names
     *
     * @throws Exception if there is no whole answer
     */
    public function ask(string $method, string $path, array $headers = [], ?string $body = null): array
    {
        $stream = $this->send($method, $path, $headers + ['Connection' => 'close'], $body);
        [$status, $headers] = $this->head($stream);
        if (($headers['transfer-encoding'] ?? '') === 'chunked') {
            stream_filter_append($stream, 'dechunk', STREAM_FILTER_READ);
        }
        $length = $headers['content-length'] ?? null;
        $wanted = $length === null ? self::BODY_BYTES : min((int) $length, self::BODY_BYTES);
        $answer = (string) stream_get_contents($stream, $wanted);
        $late = stream_get_meta_data($stream)['timed_out'];
        if ($late || ($length !== null && \strlen($answer) < (int) $length)) {
            throw new Exception("askrd at $this->url did not answer in time");
        }
        fclose($stream);
        return [$status, $answer, $headers];
    }

    /**
     * Sends a request, and gives the stream that its answer is read from.
     *
     * @param array<string, string> $headers
     *
     * @return resource
     */
    public function send(string $method, string $path, array $headers = [], ?string $body = null)
    {
        $stream = @stream_socket_client($this->address, $code, $reason, $this->timeout);
        if ($stream === false) {
            throw new Exception("askrd does not answer at $this->url: " . ($reason ?: 'no TLS connection, or no such address'));
        }
        stream_set_timeout($stream, (int) $this->timeout, (int) (fmod($this->timeout, 1) * 1e6));
        $headers += ['Host' => $this->host] + ($body === null ? [] : ['Content-Length' => (string) \strlen($body)]);
        $head = "$method $this->prefix$path HTTP/1.1\r\n";
        foreach ($headers as $name => $value) {
            $head .= "$name: $value\r\n";
        }
        $bytes = "$head\r\n$body";
        while ($bytes !== '') {
            $written = @fwrite($stream, $bytes);
            if ($written === false || $written === 0) {
                throw new Exception("askrd at $this->url took no request");
            }
            $bytes = substr($bytes, $written);
        }
        return $stream;
    }

    /**
     * @param resource $stream
     *
     * @return array{int, array<string, string>}
     */
    public function head($stream): array
    {
        $read = 0;
        $line = function () use ($stream, &$read): string {
            $line = @fgets($stream, self::HEAD_BYTES);
            if ($line === false || ($read += \strlen($line)) > self::HEAD_BYTES) {
                throw new Exception("askrd at $this->url gave no answer");
            }
            return rtrim($line, "\r\n");
        };
        if (! preg_match('#\AHTTP/1\.[01] (\d{3})#', $line(), $status)) {
            throw new Exception("what answers at $this->url does not speak HTTP");
        }
        $headers = [];
        while (($field = $line()) !== '') {
            [$name, $value] = explode(':', $field, 2) + [1 => ''];
            $headers[strtolower($name)] = trim($value);
        }
        return [(int) $status[1], $headers];
    }
}
