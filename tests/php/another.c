/* An extension that has a mercure_publish() of its own, as FrankenPHP has. */

#include <php.h>

PHP_FUNCTION(mercure_publish)
{
    RETURN_STRING("another's");
}

ZEND_BEGIN_ARG_INFO_EX(arguments, 0, 0, 1)
    ZEND_ARG_INFO(0, topics)
ZEND_END_ARG_INFO()

static const zend_function_entry functions[] = {PHP_FE(mercure_publish, arguments) PHP_FE_END};

zend_module_entry another_module_entry = {
    STANDARD_MODULE_HEADER, "another", functions, NULL, NULL, NULL, NULL, NULL, "1", STANDARD_MODULE_PROPERTIES,
};

ZEND_GET_MODULE(another)
