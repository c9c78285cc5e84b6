"""What a waiting runtime imports and runs to have run something. No bytecode is made of it, as there is none of a function."""


def handler(event, context):
    return event
