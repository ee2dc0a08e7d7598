"""What all experiments share, in the order in which a run goes through it.

``experiment`` says what one is, ``options`` what the user chooses, ``preparation`` makes data and a network of both,
``training`` trains it, ``results`` tests it, and ``report`` writes the page. ``run`` is that sequence, ``command`` the
script around it, and ``folder`` the place where everything is kept. What was kept there is read by ``records``,
``comparison`` and ``prediction``.
"""
