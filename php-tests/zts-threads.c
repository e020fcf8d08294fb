/*
 * Many threads of one thread-safe PHP that publish at the same time, each with its own publisher.
 *
 *   threads PHP.INI      (with extension and askr.ring; ASKRD in the environment)
 *
 * The PHP code below is what a thread runs; the main thread starts askrd, the others, and looks at the
 * ring afterwards. Ends with 0 if each thread published everything in its order.
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <sapi/embed/php_embed.h>

ZEND_TSRMLS_CACHE_DEFINE()

#define THREADS 8
#define ROUNDS 3

static const char WORKER[] =
    "for ($n = 0; $n < 500; $n++) {"
    "  if (!askr_broadcast('thread %d', (string) ($n + %d * 500))) exit(askr_status()['reason']);"
    "}"
    /* A policy of this thread alone. */
    "ini_set('askr.on_failure', 'exception');"
    "if (askr_status()['published'] < 500) exit('too few');"
    "$GLOBALS['done'] = true;";

static int failures;

static void run(const char *code)
{
    zend_first_try {
        zval done;
        zend_eval_string_ex(code, NULL, "thread", true);
        zend_eval_string("$done ?? false", &done, "thread");
        if (Z_TYPE(done) != IS_TRUE) {
            __atomic_add_fetch(&failures, 1, __ATOMIC_RELAXED);
        }
    } zend_catch {
        __atomic_add_fetch(&failures, 1, __ATOMIC_RELAXED);
    } zend_end_try();
}

static void *thread(void *number)
{
    char code[sizeof WORKER + 64];
    ts_resource(0);
    ZEND_TSRMLS_CACHE_UPDATE();
    /* Several requests, as a worker thread of a web server has. */
    for (int round = 0; round < ROUNDS; round++) {
        if (php_request_startup() == FAILURE) {
            __atomic_add_fetch(&failures, 1, __ATOMIC_RELAXED);
            break;
        }
        snprintf(code, sizeof code, WORKER, (int) (intptr_t) number, round);
        run(code);
        php_request_shutdown(NULL);
    }
    ts_free_thread();
    return NULL;
}

int main(int argc, char **argv)
{
    char code[2048];
    pthread_t threads[THREADS];
    if (argc != 2) {
        fprintf(stderr, "usage: threads PHP.INI\n");
        return 2;
    }
    php_embed_module.php_ini_path_override = argv[1];
    if (php_embed_init(1, argv) == FAILURE) {
        return 1;
    }
    ZEND_TSRMLS_CACHE_UPDATE();
    run("require 'php-tests/ring.inc'; $askrd = new Askrd(['RING_SLOTS' => 32768]); $done = askr_status()['attached'];");

    for (intptr_t n = 0; n < THREADS; n++) {
        pthread_create(&threads[n], NULL, thread, (void *) n);
    }
    for (int n = 0; n < THREADS; n++) {
        pthread_join(threads[n], NULL);
    }

    snprintf(code, sizeof code,
        "$done = false; $seen = [];"
        "foreach (events(%d) as $event) $seen[$event['channels'][0]][] = $event['data'];"
        "ksort($seen);"
        "$order = array_map('strval', range(0, %d));"
        "foreach ($seen as $channel => $data) echo $channel, $data === $order ? \" in order, each once\\n\" : \" is WRONG\\n\";"
        "$done = count($seen) === %d && array_unique($seen, SORT_REGULAR) === [array_key_first($seen) => $order]"
        "  && ini_get('askr.on_failure') === 'log' && askr_status()['published'] === 0;"
        "unset($askrd);", THREADS * ROUNDS * 500, ROUNDS * 500 - 1, THREADS);
    run(code);
    php_embed_shutdown();
    printf("%d passed, %d failed\n", failures ? 0 : 1, failures);
    return failures != 0;
}
