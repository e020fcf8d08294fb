<?php

// Publishes until it is ended: keeps askrd reading.

for (;;) askr_broadcast('flood', 'payload');
