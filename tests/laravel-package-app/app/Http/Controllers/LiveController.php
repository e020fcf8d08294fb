<?php

namespace App\Http\Controllers;

use App\Events\OrderPaid;
use App\Events\OrderShipped;
use Askr\Laravel\Facades\Askr;
use Illuminate\Http\JsonResponse;
use Illuminate\Http\Request;
use Illuminate\Routing\Controller;
use Illuminate\Support\Facades\Auth;

class LiveController extends Controller
{
    public function page()
    {
        return view('page');
    }

    public function login(string $user): JsonResponse
    {
        Auth::loginUsingId($user);
        return response()->json(['user' => $user]);
    }

    public function logout(): JsonResponse
    {
        Auth::logout();
        return response()->json([]);
    }

    public function paid(Request $request, int $order): JsonResponse
    {
        broadcast(new OrderPaid($order, $request->json('more') ?? []))->toOthers();
        return response()->json([]);
    }

    public function shipped(Request $request, int $order): JsonResponse
    {
        $event = new OrderShipped($order);
        $event->dieOnce = (bool) $request->query('die');
        broadcast($event);
        return response()->json([]);
    }

    public function facade(int $order): JsonResponse
    {
        $sent = Askr::private("orders.$order")->event('shipped')->data(['order' => $order])->toOthers()->send();
        return response()->json(['sent' => $sent]);
    }

    public function story(Request $request): JsonResponse
    {
        $words = preg_split('/(?<= )/', $request->json('text'));
        return response()->json(['text' => Askr::stream($request->json('channel'))->every(0)->from($words)]);
    }

    /** What askrd knows. */
    public function asked(Request $request): JsonResponse
    {
        return response()->json([
            'cursor' => Askr::cursorOf(), 'history' => Askr::history($request->query('channel')), 'members' => Askr::members('team'),
            'channels' => Askr::channels(),
        ]);
    }

    /** Nanoseconds of one broadcast(), by the clock and of this processor, and of the request until it has returned. */
    public function bench(): JsonResponse
    {
        $event = new OrderPaid(7);
        $cpu = function (): int {
            $used = getrusage();
            return ($used['ru_utime.tv_sec'] + $used['ru_stime.tv_sec']) * 1_000_000_000
                + ($used['ru_utime.tv_usec'] + $used['ru_stime.tv_usec']) * 1000;
        };
        $used = $cpu();
        $begin = hrtime(true);
        broadcast($event);
        $ns = hrtime(true) - $begin;
        $used = $cpu() - $used;
        $request = (microtime(true) - $_SERVER['REQUEST_TIME_FLOAT']) * 1e9;
        return response()->json(['ns' => $ns, 'cpu' => $used, 'request' => $request, 'laravel' => app()->version()]);
    }
}
