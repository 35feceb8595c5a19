"""Never two traders, proved on real processes: daemons of one session die, freeze and lose their database; others follow."""
