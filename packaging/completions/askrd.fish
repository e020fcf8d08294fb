# Print an optspec for argparse to handle cmd's options that are independent of any subcommand.
function __fish_askrd_global_optspecs
    string join \n config= listen= ring= h/help V/version
end

function __fish_askrd_needs_command
    # Figure out if the current invocation already has a command.
    set -l cmd (commandline -opc)
    set -e cmd[1]
    argparse -s (__fish_askrd_global_optspecs) -- $cmd 2>/dev/null
    or return
    if set -q argv[1]
        # Also print the command, so this can be used to figure out what it is.
        echo $argv[1]
        return 1
    end
    return 0
end

function __fish_askrd_using_subcommand
    set -l cmd (__fish_askrd_needs_command)
    test -z "$cmd"
    and return 1
    contains -- $cmd[1] $argv
end

complete -c askrd -n "__fish_askrd_needs_command" -l config -d 'Settings file. Default: /etc/askr/askr.toml if there is one' -r -F
complete -c askrd -n "__fish_askrd_needs_command" -l listen -d 'Where to listen, `host:port` or `unix:/path`; may be given several times' -r
complete -c askrd -n "__fish_askrd_needs_command" -l ring -d 'The ring: a shared-memory name such as `/askr`, or a path on tmpfs' -r
complete -c askrd -n "__fish_askrd_needs_command" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c askrd -n "__fish_askrd_needs_command" -s V -l version -d 'Print version'
complete -c askrd -n "__fish_askrd_needs_command" -f -a "serve" -d 'Serve events (the default)'
complete -c askrd -n "__fish_askrd_needs_command" -f -a "check" -d 'Check the settings: print what is wrong with them (exit code 2), or the settings in force'
complete -c askrd -n "__fish_askrd_needs_command" -f -a "reload" -d 'Have the running daemon read its settings again: print what is in force now, and what needs a restart. A file that cannot be used changes nothing'
complete -c askrd -n "__fish_askrd_needs_command" -f -a "drain" -d 'Let viewers go at a pace while the daemon goes on, so that a load balancer sends them elsewhere; print how many are left, and end when nobody is. New viewers are asked to come back, /readyz and /up say 503, until `--stop` or a restart. Interrupted, the drain goes on'
complete -c askrd -n "__fish_askrd_needs_command" -f -a "doctor" -d 'Look for what is wrong between PHP and a browser, and print it with the command that mends it. Nothing is printed where nothing is wrong. Exit code 1: warnings, 2: problems'
complete -c askrd -n "__fish_askrd_needs_command" -f -a "health" -d 'Exit code 0 if the running daemon is ready; otherwise 1, and the reason'
complete -c askrd -n "__fish_askrd_needs_command" -f -a "stats" -d 'Print the metrics of the running daemon; with --watch, the most important of them again and again'
complete -c askrd -n "__fish_askrd_needs_command" -f -a "nodes" -d 'Print the hosts of each application, and how far behind they are'
complete -c askrd -n "__fish_askrd_needs_command" -f -a "tail" -d 'Print the events of a live ring as they are published, one JSON object a line'
complete -c askrd -n "__fish_askrd_needs_command" -f -a "history" -d 'Print the events of a channel that the ring still holds, the newest by default, oldest first, one JSON object a line'
complete -c askrd -n "__fish_askrd_needs_command" -f -a "forget" -d 'Erase the events of a channel that the ring holds: nothing gives them out any more, also after a restart'
complete -c askrd -n "__fish_askrd_needs_command" -f -a "trace" -d 'Print what happens to the events of a channel: when each was read, who gets it and who does not, when it was written'
complete -c askrd -n "__fish_askrd_needs_command" -f -a "publish" -d 'Publish one event'
complete -c askrd -n "__fish_askrd_needs_command" -f -a "channels" -d 'Print the channels that have subscribers, and how many each has'
complete -c askrd -n "__fish_askrd_needs_command" -f -a "members" -d 'Print the members of a presence channel, with their info'
complete -c askrd -n "__fish_askrd_needs_command" -f -a "disconnect" -d 'Disconnect one connection, or all of a user, and refuse the user\'s tokens issued until now. Exit code 1 if nobody was found'
complete -c askrd -n "__fish_askrd_needs_command" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c askrd -n "__fish_askrd_using_subcommand serve" -l config -d 'Settings file. Default: /etc/askr/askr.toml if there is one' -r -F
complete -c askrd -n "__fish_askrd_using_subcommand serve" -l listen -d 'Where to listen, `host:port` or `unix:/path`; may be given several times' -r
complete -c askrd -n "__fish_askrd_using_subcommand serve" -l ring -d 'The ring: a shared-memory name such as `/askr`, or a path on tmpfs' -r
complete -c askrd -n "__fish_askrd_using_subcommand serve" -s h -l help -d 'Print help'
complete -c askrd -n "__fish_askrd_using_subcommand check" -l config -d 'Settings file. Default: /etc/askr/askr.toml if there is one' -r -F
complete -c askrd -n "__fish_askrd_using_subcommand check" -l listen -d 'Where to listen, `host:port` or `unix:/path`; may be given several times' -r
complete -c askrd -n "__fish_askrd_using_subcommand check" -l ring -d 'The ring: a shared-memory name such as `/askr`, or a path on tmpfs' -r
complete -c askrd -n "__fish_askrd_using_subcommand check" -s h -l help -d 'Print help'
complete -c askrd -n "__fish_askrd_using_subcommand reload" -l config -d 'Settings file. Default: /etc/askr/askr.toml if there is one' -r -F
complete -c askrd -n "__fish_askrd_using_subcommand reload" -l listen -d 'Where to listen, `host:port` or `unix:/path`; may be given several times' -r
complete -c askrd -n "__fish_askrd_using_subcommand reload" -l ring -d 'The ring: a shared-memory name such as `/askr`, or a path on tmpfs' -r
complete -c askrd -n "__fish_askrd_using_subcommand reload" -s h -l help -d 'Print help'
complete -c askrd -n "__fish_askrd_using_subcommand drain" -l over -d 'Over how many seconds viewers are let go' -r
complete -c askrd -n "__fish_askrd_using_subcommand drain" -l notice -d 'For how many seconds before that only /readyz and /up say that no more should be sent here' -r
complete -c askrd -n "__fish_askrd_using_subcommand drain" -l config -d 'Settings file. Default: /etc/askr/askr.toml if there is one' -r -F
complete -c askrd -n "__fish_askrd_using_subcommand drain" -l ring -d 'The ring: a shared-memory name such as `/askr`, or a path on tmpfs' -r
complete -c askrd -n "__fish_askrd_using_subcommand drain" -l stop -d 'End it: new viewers are welcome again'
complete -c askrd -n "__fish_askrd_using_subcommand drain" -s h -l help -d 'Print help'
complete -c askrd -n "__fish_askrd_using_subcommand doctor" -l url -d 'Where browsers get events, to look at the proxy: `https://shop.example/askr/events`' -r
complete -c askrd -n "__fish_askrd_using_subcommand doctor" -l origin -d 'With --url: an origin whose pages are to listen, as a browser says it: `https://app.example`' -r
complete -c askrd -n "__fish_askrd_using_subcommand doctor" -l php -d 'The PHP that publishes an event at the end' -r
complete -c askrd -n "__fish_askrd_using_subcommand doctor" -l root -d 'Where etc/php is looked for' -r -F
complete -c askrd -n "__fish_askrd_using_subcommand doctor" -l config -d 'Settings file. Default: /etc/askr/askr.toml if there is one' -r -F
complete -c askrd -n "__fish_askrd_using_subcommand doctor" -l ring -d 'The ring: a shared-memory name such as `/askr`, or a path on tmpfs' -r
complete -c askrd -n "__fish_askrd_using_subcommand doctor" -l json -d 'One JSON object'
complete -c askrd -n "__fish_askrd_using_subcommand doctor" -l no-event -d 'Publish nothing'
complete -c askrd -n "__fish_askrd_using_subcommand doctor" -s h -l help -d 'Print help'
complete -c askrd -n "__fish_askrd_using_subcommand health" -l config -d 'Settings file. Default: /etc/askr/askr.toml if there is one' -r -F
complete -c askrd -n "__fish_askrd_using_subcommand health" -l listen -d 'Where to listen, `host:port` or `unix:/path`; may be given several times' -r
complete -c askrd -n "__fish_askrd_using_subcommand health" -l ring -d 'The ring: a shared-memory name such as `/askr`, or a path on tmpfs' -r
complete -c askrd -n "__fish_askrd_using_subcommand health" -s h -l help -d 'Print help'
complete -c askrd -n "__fish_askrd_using_subcommand stats" -l interval -d 'Seconds from one look to the next, 0.1 to 3600' -r
complete -c askrd -n "__fish_askrd_using_subcommand stats" -l count -d 'End after this many' -r
complete -c askrd -n "__fish_askrd_using_subcommand stats" -l config -d 'Settings file. Default: /etc/askr/askr.toml if there is one' -r -F
complete -c askrd -n "__fish_askrd_using_subcommand stats" -l listen -d 'Where to listen, `host:port` or `unix:/path`; may be given several times' -r
complete -c askrd -n "__fish_askrd_using_subcommand stats" -l ring -d 'The ring: a shared-memory name such as `/askr`, or a path on tmpfs' -r
complete -c askrd -n "__fish_askrd_using_subcommand stats" -l watch -d 'Go on: on a terminal one picture, elsewhere a line each time. Ends at Ctrl-C, or when nobody reads it any more'
complete -c askrd -n "__fish_askrd_using_subcommand stats" -s h -l help -d 'Print help'
complete -c askrd -n "__fish_askrd_using_subcommand nodes" -l config -d 'Settings file. Default: /etc/askr/askr.toml if there is one' -r -F
complete -c askrd -n "__fish_askrd_using_subcommand nodes" -l ring -d 'The ring: a shared-memory name such as `/askr`, or a path on tmpfs' -r
complete -c askrd -n "__fish_askrd_using_subcommand nodes" -l json -d 'As JSON'
complete -c askrd -n "__fish_askrd_using_subcommand nodes" -s h -l help -d 'Print help'
complete -c askrd -n "__fish_askrd_using_subcommand tail" -l count -d 'End after this many events' -r
complete -c askrd -n "__fish_askrd_using_subcommand tail" -l config -d 'Settings file. Default: /etc/askr/askr.toml if there is one' -r -F
complete -c askrd -n "__fish_askrd_using_subcommand tail" -l ring -d 'The ring: a shared-memory name such as `/askr`, or a path on tmpfs' -r
complete -c askrd -n "__fish_askrd_using_subcommand tail" -l topics -d 'Also events of topics, private ones too'
complete -c askrd -n "__fish_askrd_using_subcommand tail" -l history -d 'Begin with the oldest event that the ring holds'
complete -c askrd -n "__fish_askrd_using_subcommand tail" -s h -l help -d 'Print help'
complete -c askrd -n "__fish_askrd_using_subcommand history" -l limit -d 'At most so many events, 1 to 1000. Default: 100' -r
complete -c askrd -n "__fish_askrd_using_subcommand history" -l since -d 'Events after this cursor, the oldest first' -r
complete -c askrd -n "__fish_askrd_using_subcommand history" -l before -d 'Events before this cursor' -r
complete -c askrd -n "__fish_askrd_using_subcommand history" -l config -d 'Settings file. Default: /etc/askr/askr.toml if there is one' -r -F
complete -c askrd -n "__fish_askrd_using_subcommand history" -l ring -d 'The ring: a shared-memory name such as `/askr`, or a path on tmpfs' -r
complete -c askrd -n "__fish_askrd_using_subcommand history" -s h -l help -d 'Print help'
complete -c askrd -n "__fish_askrd_using_subcommand forget" -l config -d 'Settings file. Default: /etc/askr/askr.toml if there is one' -r -F
complete -c askrd -n "__fish_askrd_using_subcommand forget" -l ring -d 'The ring: a shared-memory name such as `/askr`, or a path on tmpfs' -r
complete -c askrd -n "__fish_askrd_using_subcommand forget" -s h -l help -d 'Print help'
complete -c askrd -n "__fish_askrd_using_subcommand trace" -l seconds -d 'End after so many seconds' -r
complete -c askrd -n "__fish_askrd_using_subcommand trace" -l config -d 'Settings file. Default: /etc/askr/askr.toml if there is one' -r -F
complete -c askrd -n "__fish_askrd_using_subcommand trace" -l ring -d 'The ring: a shared-memory name such as `/askr`, or a path on tmpfs' -r
complete -c askrd -n "__fish_askrd_using_subcommand trace" -l json -d 'One JSON object a line'
complete -c askrd -n "__fish_askrd_using_subcommand trace" -s h -l help -d 'Print help'
complete -c askrd -n "__fish_askrd_using_subcommand publish" -l event -d 'Event name' -r
complete -c askrd -n "__fish_askrd_using_subcommand publish" -l id -d 'Event id that the page sees' -r
complete -c askrd -n "__fish_askrd_using_subcommand publish" -l retry -d 'Milliseconds a browser waits before it reconnects' -r
complete -c askrd -n "__fish_askrd_using_subcommand publish" -l except -d 'Socket id that does not receive the event' -r
complete -c askrd -n "__fish_askrd_using_subcommand publish" -l config -d 'Settings file. Default: /etc/askr/askr.toml if there is one' -r -F
complete -c askrd -n "__fish_askrd_using_subcommand publish" -l ring -d 'The ring: a shared-memory name such as `/askr`, or a path on tmpfs' -r
complete -c askrd -n "__fish_askrd_using_subcommand publish" -s h -l help -d 'Print help'
complete -c askrd -n "__fish_askrd_using_subcommand channels" -l config -d 'Settings file. Default: /etc/askr/askr.toml if there is one' -r -F
complete -c askrd -n "__fish_askrd_using_subcommand channels" -l ring -d 'The ring: a shared-memory name such as `/askr`, or a path on tmpfs' -r
complete -c askrd -n "__fish_askrd_using_subcommand channels" -s h -l help -d 'Print help'
complete -c askrd -n "__fish_askrd_using_subcommand members" -l config -d 'Settings file. Default: /etc/askr/askr.toml if there is one' -r -F
complete -c askrd -n "__fish_askrd_using_subcommand members" -l ring -d 'The ring: a shared-memory name such as `/askr`, or a path on tmpfs' -r
complete -c askrd -n "__fish_askrd_using_subcommand members" -s h -l help -d 'Print help'
complete -c askrd -n "__fish_askrd_using_subcommand disconnect" -l user -d 'A user\'s id' -r
complete -c askrd -n "__fish_askrd_using_subcommand disconnect" -l socket -d 'A socket id, such as 123.456' -r
complete -c askrd -n "__fish_askrd_using_subcommand disconnect" -l config -d 'Settings file. Default: /etc/askr/askr.toml if there is one' -r -F
complete -c askrd -n "__fish_askrd_using_subcommand disconnect" -l ring -d 'The ring: a shared-memory name such as `/askr`, or a path on tmpfs' -r
complete -c askrd -n "__fish_askrd_using_subcommand disconnect" -l all -d 'Disconnect everybody, and refuse every token issued until now'
complete -c askrd -n "__fish_askrd_using_subcommand disconnect" -s h -l help -d 'Print help'
complete -c askrd -n "__fish_askrd_using_subcommand help; and not __fish_seen_subcommand_from serve check reload drain doctor health stats nodes tail history forget trace publish channels members disconnect help" -f -a "serve" -d 'Serve events (the default)'
complete -c askrd -n "__fish_askrd_using_subcommand help; and not __fish_seen_subcommand_from serve check reload drain doctor health stats nodes tail history forget trace publish channels members disconnect help" -f -a "check" -d 'Check the settings: print what is wrong with them (exit code 2), or the settings in force'
complete -c askrd -n "__fish_askrd_using_subcommand help; and not __fish_seen_subcommand_from serve check reload drain doctor health stats nodes tail history forget trace publish channels members disconnect help" -f -a "reload" -d 'Have the running daemon read its settings again: print what is in force now, and what needs a restart. A file that cannot be used changes nothing'
complete -c askrd -n "__fish_askrd_using_subcommand help; and not __fish_seen_subcommand_from serve check reload drain doctor health stats nodes tail history forget trace publish channels members disconnect help" -f -a "drain" -d 'Let viewers go at a pace while the daemon goes on, so that a load balancer sends them elsewhere; print how many are left, and end when nobody is. New viewers are asked to come back, /readyz and /up say 503, until `--stop` or a restart. Interrupted, the drain goes on'
complete -c askrd -n "__fish_askrd_using_subcommand help; and not __fish_seen_subcommand_from serve check reload drain doctor health stats nodes tail history forget trace publish channels members disconnect help" -f -a "doctor" -d 'Look for what is wrong between PHP and a browser, and print it with the command that mends it. Nothing is printed where nothing is wrong. Exit code 1: warnings, 2: problems'
complete -c askrd -n "__fish_askrd_using_subcommand help; and not __fish_seen_subcommand_from serve check reload drain doctor health stats nodes tail history forget trace publish channels members disconnect help" -f -a "health" -d 'Exit code 0 if the running daemon is ready; otherwise 1, and the reason'
complete -c askrd -n "__fish_askrd_using_subcommand help; and not __fish_seen_subcommand_from serve check reload drain doctor health stats nodes tail history forget trace publish channels members disconnect help" -f -a "stats" -d 'Print the metrics of the running daemon; with --watch, the most important of them again and again'
complete -c askrd -n "__fish_askrd_using_subcommand help; and not __fish_seen_subcommand_from serve check reload drain doctor health stats nodes tail history forget trace publish channels members disconnect help" -f -a "nodes" -d 'Print the hosts of each application, and how far behind they are'
complete -c askrd -n "__fish_askrd_using_subcommand help; and not __fish_seen_subcommand_from serve check reload drain doctor health stats nodes tail history forget trace publish channels members disconnect help" -f -a "tail" -d 'Print the events of a live ring as they are published, one JSON object a line'
complete -c askrd -n "__fish_askrd_using_subcommand help; and not __fish_seen_subcommand_from serve check reload drain doctor health stats nodes tail history forget trace publish channels members disconnect help" -f -a "history" -d 'Print the events of a channel that the ring still holds, the newest by default, oldest first, one JSON object a line'
complete -c askrd -n "__fish_askrd_using_subcommand help; and not __fish_seen_subcommand_from serve check reload drain doctor health stats nodes tail history forget trace publish channels members disconnect help" -f -a "forget" -d 'Erase the events of a channel that the ring holds: nothing gives them out any more, also after a restart'
complete -c askrd -n "__fish_askrd_using_subcommand help; and not __fish_seen_subcommand_from serve check reload drain doctor health stats nodes tail history forget trace publish channels members disconnect help" -f -a "trace" -d 'Print what happens to the events of a channel: when each was read, who gets it and who does not, when it was written'
complete -c askrd -n "__fish_askrd_using_subcommand help; and not __fish_seen_subcommand_from serve check reload drain doctor health stats nodes tail history forget trace publish channels members disconnect help" -f -a "publish" -d 'Publish one event'
complete -c askrd -n "__fish_askrd_using_subcommand help; and not __fish_seen_subcommand_from serve check reload drain doctor health stats nodes tail history forget trace publish channels members disconnect help" -f -a "channels" -d 'Print the channels that have subscribers, and how many each has'
complete -c askrd -n "__fish_askrd_using_subcommand help; and not __fish_seen_subcommand_from serve check reload drain doctor health stats nodes tail history forget trace publish channels members disconnect help" -f -a "members" -d 'Print the members of a presence channel, with their info'
complete -c askrd -n "__fish_askrd_using_subcommand help; and not __fish_seen_subcommand_from serve check reload drain doctor health stats nodes tail history forget trace publish channels members disconnect help" -f -a "disconnect" -d 'Disconnect one connection, or all of a user, and refuse the user\'s tokens issued until now. Exit code 1 if nobody was found'
complete -c askrd -n "__fish_askrd_using_subcommand help; and not __fish_seen_subcommand_from serve check reload drain doctor health stats nodes tail history forget trace publish channels members disconnect help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
