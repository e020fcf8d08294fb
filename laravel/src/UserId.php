<?php

namespace Askr\Laravel;

use Illuminate\Database\Eloquent\Model;

/** A user's id as tokens and presence channels have it: Laravel's own rule for /broadcasting/auth. */
final class UserId
{
    public static function of(mixed $user): string
    {
        return (string) match (true) {
            ! \is_object($user) => $user,
            method_exists($user, 'getAuthIdentifierForBroadcasting') => $user->getAuthIdentifierForBroadcasting(),
            method_exists($user, 'getAuthIdentifier') => $user->getAuthIdentifier(),
            $user instanceof Model => $user->getKey(),
            default => throw new \ValueError('a user must be an id or something that has one, ' . $user::class . ' has none'),
        };
    }
}
