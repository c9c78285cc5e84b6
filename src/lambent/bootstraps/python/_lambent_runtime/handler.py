"""From the handler's name to the function to call."""

import sys


class Fault(Exception):
    """An error that the runtime itself states: `kind` is the category, `text` the message, `trace` a list or None."""

    def __init__(self, kind, text, trace=None):
        Exception.__init__(self, text)
        self.kind = kind
        self.text = text
        self.trace = trace


def find(name):
    """Import the module that `name` ("pkg/module.function") speaks of and answer its function.

    Raises Fault for what the runtime explains itself, and whatever else the module's own code raises.
    """
    try:
        module_name, function_name = name.rsplit(".", 1)
    except ValueError as error:
        raise Fault("Runtime.MalformedHandlerName", "Bad handler '{}': {}".format(name, error))
    if module_name.split(".")[0] in sys.builtin_module_names:
        raise Fault(
            "Runtime.BuiltInModuleConflict",
            "Cannot use built-in module {} as a handler module".format(module_name),
        )
    # The stack of a failing import is part of the answer, and begins in this function of importlib.
    from importlib import import_module

    try:
        module = import_module(module_name.replace("/", "."))
    except ImportError as error:
        raise Fault("Runtime.ImportModuleError", "Unable to import module '{}': {}".format(module_name, error))
    except SyntaxError as error:
        trace = ['  File "%s" Line %s\n    %s' % (error.filename, error.lineno, error.text)]
        raise Fault(
            "Runtime.UserCodeSyntaxError",
            "Syntax error in module '{}': {}".format(module_name, error),
            trace,
        )
    try:
        return getattr(module, function_name)
    except AttributeError:
        raise Fault(
            "Runtime.HandlerNotFound",
            "Handler '{}' missing on module '{}'".format(function_name, module_name),
        )
