<?php

namespace App\Events;

enum Status: string
{
    case Paid = 'order.paid';
    case Shipped = 'order.shipped';
}
