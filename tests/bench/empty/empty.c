/* The floor of a call from PHP into an extension: a function with the arguments of askr_broadcast()
 * that parses them and does nothing. */

#include <php.h>

ZEND_BEGIN_ARG_WITH_RETURN_TYPE_INFO_EX(arginfo_empty_broadcast, 0, 2, _IS_BOOL, 0)
    ZEND_ARG_TYPE_MASK(0, channel, MAY_BE_ARRAY | MAY_BE_STRING, NULL)
    ZEND_ARG_TYPE_INFO(0, payload, IS_STRING, 0)
    ZEND_ARG_TYPE_INFO_WITH_DEFAULT_VALUE(0, event, IS_STRING, 1, "null")
    ZEND_ARG_TYPE_INFO_WITH_DEFAULT_VALUE(0, id, IS_STRING, 1, "null")
    ZEND_ARG_TYPE_INFO_WITH_DEFAULT_VALUE(0, retry, IS_LONG, 1, "null")
    ZEND_ARG_TYPE_INFO_WITH_DEFAULT_VALUE(0, except, IS_STRING, 1, "null")
ZEND_END_ARG_INFO()

PHP_FUNCTION(empty_broadcast)
{
    HashTable *channels;
    zend_string *channel, *payload, *event = NULL, *id = NULL, *except = NULL;
    zend_long retry;
    bool retry_is_null = true;

    ZEND_PARSE_PARAMETERS_START(2, 6)
        Z_PARAM_ARRAY_HT_OR_STR(channels, channel)
        Z_PARAM_STR(payload)
        Z_PARAM_OPTIONAL
        Z_PARAM_STR_OR_NULL(event)
        Z_PARAM_STR_OR_NULL(id)
        Z_PARAM_LONG_OR_NULL(retry, retry_is_null)
        Z_PARAM_STR_OR_NULL(except)
    ZEND_PARSE_PARAMETERS_END();

    RETURN_TRUE;
}

/* The same of askr_cursor(): no arguments, a string. */

ZEND_BEGIN_ARG_WITH_RETURN_TYPE_INFO_EX(arginfo_empty_cursor, 0, 0, IS_STRING, 1)
ZEND_END_ARG_INFO()

PHP_FUNCTION(empty_cursor)
{
    ZEND_PARSE_PARAMETERS_NONE();

    RETURN_NULL();
}

static const zend_function_entry functions[] = {
    PHP_FE(empty_broadcast, arginfo_empty_broadcast)
    PHP_FE(empty_cursor, arginfo_empty_cursor)
    PHP_FE_END
};

zend_module_entry empty_module_entry = {
    STANDARD_MODULE_HEADER, "empty", functions, NULL, NULL, NULL, NULL, NULL, "1", STANDARD_MODULE_PROPERTIES
};

#ifdef ZTS
ZEND_TSRMLS_CACHE_DEFINE()
#endif
ZEND_GET_MODULE(empty)
