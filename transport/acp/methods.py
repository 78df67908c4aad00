"""The names of the methods and notifications of ACP, in both versions (04 13.2; 07 3)."""

from __future__ import annotations

INITIALIZE = "initialize"
AUTHENTICATE = "authenticate"
LOGOUT = "logout"
AUTH_LOGIN = "auth/login"
AUTH_LOGOUT = "auth/logout"
SESSION_NEW = "session/new"
SESSION_LOAD = "session/load"
SESSION_RESUME = "session/resume"
SESSION_LIST = "session/list"
SESSION_CLOSE = "session/close"
SESSION_DELETE = "session/delete"
SESSION_FORK = "session/fork"
SESSION_TITLE = "session/set_title"
SESSION_PROMPT = "session/prompt"
SESSION_CANCEL = "session/cancel"
SESSION_UPDATE = "session/update"
SET_MODE = "session/set_mode"
SET_MODEL = "session/set_model"
SET_OPTION = "session/set_config_option"
STEERING = "_session/steering"
CANCEL_REQUEST = "$/cancel_request"
CANCEL_TOOL = "tool_call/cancel"
CANCEL_TERMINAL = "terminal/cancel"

REQUEST_PERMISSION = "session/request_permission"
ELICITATION = "elicitation/create"
ELICITATION_COMPLETE = "elicitation/complete"
READ_FILE = "fs/read_text_file"
WRITE_FILE = "fs/write_text_file"
TERMINAL_CREATE = "terminal/create"
TERMINAL_OUTPUT = "terminal/output"
TERMINAL_WAIT = "terminal/wait_for_exit"
TERMINAL_KILL = "terminal/kill"
TERMINAL_RELEASE = "terminal/release"

FILE_METHODS = frozenset({READ_FILE, WRITE_FILE})
TERMINAL_METHODS = frozenset(
    {TERMINAL_CREATE, TERMINAL_OUTPUT, TERMINAL_WAIT, TERMINAL_KILL, TERMINAL_RELEASE}
)
