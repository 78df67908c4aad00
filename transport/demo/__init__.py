"""The `demo` agent: a real ACP v1 agent process with neither a model nor a network.

``python -m greenroom.transport.demo`` speaks ACP on stdin and stdout. It exists so that a stranger
sees every part of a session move before installing anything, and so that tests have an agent that
does what the prompt says. Standard library only: it must start in a blink.

Without directives a prompt plays a short story: a thought, a plan, a file read through the client,
an answer about it and about the prompt, a command run after asking permission, a summary. A prompt
line that begins with ``@@`` is a directive and replaces the story:

=========================  ======================================================================
``@@say TEXT``             stream TEXT
``@@think TEXT``           stream TEXT as a thought
``@@echo``                 stream the prompt itself
``@@read PATH``            read a file through the client
``@@write PATH TEXT``      write a file through the client, after asking permission
``@@run COMMAND``          run a shell command in the workspace, after asking permission
``@@tools N``              N read tool calls, one after another
``@@slow N SECONDS``       N chunks of text, SECONDS apart
``@@garbage``              write a line that is not JSON
``@@exit CODE``            exit at once
``@@hang``                 never finish; cancel, steering and end of input are still obeyed
``@@deaf``                 from now on ignore cancel and end of input
=========================  ======================================================================

Environment: ``GREENROOM_DEMO_PACE`` seconds between chunks (0.03), ``GREENROOM_DEMO_STATE`` the
directory that keeps conversations (a private one under the temporary directory).
"""
