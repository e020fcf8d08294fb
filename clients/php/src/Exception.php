<?php

namespace Askr;

/** The extension's own class where it is loaded: then this file is never read. */
class Exception extends \Exception
{
}
